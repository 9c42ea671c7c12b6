/**
 * /dev/kmsg opened so that reading never blocks and waiting can be ended at once. Both need open(2) and poll(2)
 * with flags that Deno does not offer: its own asynchronous read holds one of 32 pool threads, even after close(),
 * until the kernel says something again. Kernel document: Documentation/ABI/testing/dev-kmsg.
 *
 * @module
 */
import { errnoOf } from "./errno.ts";

/** Where records are read from; a test gives its own. */
export interface KmsgDevice {
  /** Bytes of one record put into `buffer`, 0 at the end of a file, or the name of the errno: "EAGAIN", "EPIPE". */
  read(buffer: Uint8Array<ArrayBuffer>): number | string;
  /** The same for a reader that stood behind the last record when the device was opened, where there is such. */
  readNew?(buffer: Uint8Array<ArrayBuffer>): number | string;
  /** Resolves when there is something to read, or after {@linkcode KmsgDevice.close}. */
  wait(): Promise<void>;
  close(): void;
}

/** What opening gave. Mode bits lie under dmesg_restrict, so only opening tells. */
export type KmsgOpening =
  | { readonly state: "ok"; readonly device: KmsgDevice }
  | { readonly state: "absent" | "denied"; readonly errno: string };

// Generic Linux values (asm-generic/fcntl.h, poll.h), equal on x86-64 and Arm.
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const SEEK_END = 2;
const POLLIN = 1;
const POLLFD_BYTES = 8;

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  close: { parameters: ["i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>;

/** Opens `path` for reading from the oldest record. */
export function openKmsg(path: string): KmsgOpening {
  let libc: Libc;
  try {
    libc = Deno.dlopen("libc.so.6", SYMBOLS);
  } catch (error) {
    return { state: "absent", errno: errnoOf(error) ?? "ENOSYS" };
  }
  const device = openWith(libc, path);
  if (typeof device !== "string") return { state: "ok", device };
  libc.close();
  return { state: device === "EPERM" || device === "EACCES" ? "denied" : "absent", errno: device };
}

function openWith(libc: Libc, path: string): KmsgDevice | string {
  const { open, read, write, lseek, close, eventfd, poll } = libc.symbols;
  const name = new TextEncoder().encode(`${path}\0`);
  const flags = O_NONBLOCK | O_CLOEXEC;

  // First the one at the end: what is written between the two calls is then seen by both.
  const newFd = openAtEnd();
  const fd = open(name, flags);
  if (fd < 0) return failed(newFd);
  const wakeFd = eventfd(0, flags);
  if (wakeFd < 0) return failed(newFd, fd);

  function openAtEnd(): number {
    const opened = open(name, flags);
    if (opened < 0 || lseek(opened, 0n, SEEK_END) >= 0n) return opened;
    close(opened); // ESPIPE: a FIFO has no end to go to
    return -1;
  }

  function failed(...opened: number[]): string {
    const errno = lastErrno(libc);
    for (const number of opened) if (number >= 0) close(number);
    return errno;
  }

  function readFrom(number: number, buffer: Uint8Array<ArrayBuffer>): number | string {
    const length = Number(read(number, buffer, BigInt(buffer.length)));
    return length < 0 ? lastErrno(libc) : length;
  }

  let isClosed = false;
  let waits = 0;
  function release(): void {
    for (const number of [fd, newFd, wakeFd]) if (number >= 0) close(number);
    libc.close();
  }

  return {
    read: (buffer) => isClosed ? "EBADF" : readFrom(fd, buffer),
    ...newFd >= 0 &&
      { readNew: (buffer: Uint8Array<ArrayBuffer>) => isClosed ? "EBADF" : readFrom(newFd, buffer) },
    async wait() {
      if (isClosed) return;
      const polled = new DataView(new ArrayBuffer(2 * POLLFD_BYTES));
      for (const [index, number] of [fd, wakeFd].entries()) {
        polled.setInt32(index * POLLFD_BYTES, number, true);
        polled.setInt16(index * POLLFD_BYTES + 4, POLLIN, true);
      }
      waits++;
      await poll(new Uint8Array(polled.buffer), 2n, -1);
      // The library and the descriptors must outlive the call that uses them.
      if (--waits === 0 && isClosed) release();
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      if (waits === 0) return release();
      write(wakeFd, new Uint8Array(new BigUint64Array([1n]).buffer), 8n);
    },
  };
}

/** Right only straight after a call that was not `nonblocking`: those run on another thread. */
function lastErrno(libc: Libc): string {
  const location = libc.symbols.__errno_location();
  const number = location === null ? 0 : new Deno.UnsafePointerView(location).getInt32();
  return errnoOf(new Error(`(os error ${number})`))!;
}
