/**
 * Whether the wall clock can be right, and whether anything keeps it right: adjtimex(2), which the kernel
 * offers in no file. struct timex of 64-bit Linux, uapi/linux/timex.h.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import type { Check, Finding } from "./check.ts";

/** davit is younger than this. */
const DAVIT_BEGAN_MS = Date.UTC(2026, 0, 1);
const TIMEX_BYTES = 208;
const MAXERROR_OFFSET = 24;
const STATUS_OFFSET = 40;
const STA_UNSYNC = 0x40;
/** Beyond this, logs of two nodes cannot be put in order. */
const MAXERROR_WANTED_MS = 1_000;
const COST = "times of logs and kills of several nodes do not agree, and TLS certificates may be refused";
const MEND =
  "on the host: chronyc tracking or timedatectl; start chronyd, systemd-timesyncd or ptp4l with phc2sys";

/** The check; `now` gives milliseconds since the epoch. */
export function clockCheck(now: () => number = Date.now): Check {
  return { name: "clock", look: () => Promise.resolve(lookAtClock(now())) };
}

function lookAtClock(nowMs: number): Finding {
  const time = new Date(nowMs).toISOString();
  if (nowMs < DAVIT_BEGAN_MS) {
    return { state: "degraded", detail: `${time} is in the past`, cost: COST, mend: MEND };
  }
  const kernel = askKernel();
  if (typeof kernel === "string") {
    return {
      state: "degraded",
      detail: `${time}; whether it is synchronised cannot be asked: ${kernel}`,
      cost: `if it is not: ${COST}`,
      mend: "compare with another host: date -u",
    };
  }
  const bound = `off by at most ${Math.ceil(kernel.maxErrorMs)} ms`;
  if (kernel.isUnsynchronised) {
    return {
      state: "degraded",
      detail: `${time}; nothing synchronises it (STA_UNSYNC)`,
      cost: COST,
      mend: MEND,
    };
  }
  if (kernel.maxErrorMs > MAXERROR_WANTED_MS) {
    return { state: "degraded", detail: `${time}; synchronised, but ${bound}`, cost: COST, mend: MEND };
  }
  return { state: "ok", detail: `${time}; synchronised, ${bound}` };
}

/** What the kernel knows of its clock, or why it does not tell. */
function askKernel(): { isUnsynchronised: boolean; maxErrorMs: number } | string {
  let libc;
  try {
    libc = Deno.dlopen("libc.so.6", {
      adjtimex: { parameters: ["buffer"], result: "i32" },
      __errno_location: { parameters: [], result: "pointer" },
    });
  } catch (error) {
    return `no libc.so.6 can be loaded (${errnoOf(error) ?? "dlopen"})`;
  }
  try {
    const timex = new DataView(new ArrayBuffer(TIMEX_BYTES)); // modes 0: nothing is set
    if (libc.symbols.adjtimex(new Uint8Array(timex.buffer)) < 0) {
      const location = libc.symbols.__errno_location();
      const number = location === null ? 0 : new Deno.UnsafePointerView(location).getInt32();
      return `adjtimex is refused (${errnoOf(new Error(`(os error ${number})`))})`;
    }
    return {
      isUnsynchronised: (timex.getInt32(STATUS_OFFSET, true) & STA_UNSYNC) !== 0,
      maxErrorMs: Number(timex.getBigInt64(MAXERROR_OFFSET, true)) / 1_000,
    };
  } finally {
    libc.close();
  }
}
