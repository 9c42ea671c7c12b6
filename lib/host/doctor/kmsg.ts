/**
 * Whether the kernel log can be read: only opening tells, as dmesg_restrict lies over the mode bits. What
 * is there is not always the kernel's: sandboxes put a pipe, a terminal or /dev/null in its place.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { openKmsg } from "../kmsg_device.ts";
import type { Check, Finding } from "./check.ts";

/** The device 1:11, "mem" and "kmsg" in Documentation/admin-guide/devices.txt. */
const KMSG_RDEV = (1 << 8) | 11;
/** Longer than any record; a shorter buffer is EINVAL. */
const RECORD_BYTES = 8_192;
const COST = "OOM kills and GPU faults (Xid) show only in counters, without victim and reason";

/** The check of `kmsg` in `dev`. */
export function kmsgCheck({ dev }: { dev: string }): Check {
  return { name: "kmsg", look: () => lookAtKmsg(`${dev}/kmsg`) };
}

async function lookAtKmsg(path: string): Promise<Finding> {
  try {
    const { isCharDevice, rdev } = await Deno.stat(path);
    if (!isCharDevice || rdev !== KMSG_RDEV) {
      return missing(`${path} is not the kernel's log`, "give the container the host's /dev/kmsg");
    }
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    return missing(
      `there is no ${path}`,
      "give the container the device: docker run --device /dev/kmsg:/dev/kmsg:r --cap-add SYSLOG",
    );
  }
  const opened = openKmsg(path);
  if (opened.state === "denied") {
    return missing(
      `${path} may not be read (${opened.errno}): dmesg_restrict is set and CAP_SYSLOG is lacking, or the ` +
        "device is forbidden",
      "run as root or with CAP_SYSLOG, or set kernel.dmesg_restrict=0 on the host",
    );
  }
  if (opened.state !== "ok") {
    return missing(`${path} cannot be opened: ${opened.errno}`, "ask who runs the host");
  }
  const { device } = opened;
  try {
    const got = device.read(new Uint8Array(RECORD_BYTES));
    // EAGAIN: nothing has been logged; EPIPE: the oldest record went away between opening and reading.
    if (typeof got === "number" || got === "EAGAIN" || got === "EPIPE") {
      return { state: "ok", detail: `${path} can be read` };
    }
    return missing(`${path} cannot be read: ${got}`, "ask who runs the host");
  } finally {
    device.close();
  }
}

function missing(detail: string, mend: string): Finding {
  return { state: "missing", detail, cost: COST, mend };
}
