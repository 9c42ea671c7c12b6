/**
 * The few calls into the C library that Deno has no name for. Opened at the first use; `undefined` where there is
 * no glibc, so that each caller says what it goes without.
 *
 * @module
 */

const SYMBOLS = {
  execv: { parameters: ["buffer", "buffer"], result: "i32" },
  prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
  pthread_sigmask: { parameters: ["i32", "buffer", "pointer"], result: "i32" },
  raise: { parameters: ["i32"], result: "i32" },
  /** A read that waits in a thread of Deno's pool. */
  read: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
  sigaction: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  signal: { parameters: ["i32", "usize"], result: "usize" },
  signalfd: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  waitpid: { parameters: ["i32", "buffer", "i32"], result: "i32" },
} as const;

/** What can be called. */
export type Libc = Deno.StaticForeignLibraryInterface<typeof SYMBOLS>;

let opened: Libc | undefined;
let isTried = false;

/** The library, or undefined where it cannot be opened. */
export function libc(): Libc | undefined {
  if (isTried) return opened;
  isTried = true;
  try {
    opened = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  } catch {
    // musl or another kernel: undefined tells
  }
  return opened;
}

/** A sigset_t with these signals, by number. */
export function signalSet(numbers: Iterable<number>): BigUint64Array<ArrayBuffer> {
  const set = new BigUint64Array(16);
  for (const number of numbers) set[0]! |= 1n << BigInt(number - 1);
  return set;
}
