/**
 * A pseudo-terminal for a CLI that wants one (`exec -it`): the far end has only pipes. pty(7), ioctl_tty(2).
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";

const TIOCSPTLCK = 0x40045431n;
const TIOCGPTN = 0x80045430n;
const TIOCSWINSZ = 0x5414n;
const CHUNK_BYTES = 65_536;

/** Both ends; the slave's number goes to a child as its stdin, stdout and stderr. */
export interface Pty extends Disposable {
  readonly slave: number;
  /** To be called when the child has the slave: only then does the master see the child's end. */
  closeSlave(): void;
  resize(columns: number, rows: number): void;
  write(bytes: Uint8Array): Promise<void>;
  /** Ends when nobody has the slave any more. */
  read(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** Opens one. Throws a {@linkcode Failure} where there are none. */
export async function openPty(): Promise<Pty> {
  const fs = await import("node:fs");
  const { O_RDWR, O_NOCTTY } = fs.constants;
  let master: number;
  let library: ReturnType<typeof openLibc>;
  try {
    library = openLibc();
    master = fs.openSync("/dev/ptmx", O_RDWR | O_NOCTTY);
  } catch (error) {
    throw cannotOpen(error);
  }
  const { ioctl } = library.symbols;
  const number = new Uint32Array(1);
  let slave: number;
  try {
    if (ioctl(master, TIOCSPTLCK, new Uint32Array(1)) !== 0 || ioctl(master, TIOCGPTN, number) !== 0) {
      throw new Error("ioctl failed");
    }
    slave = fs.openSync(`/dev/pts/${number[0]}`, O_RDWR | O_NOCTTY);
  } catch (error) {
    fs.closeSync(master);
    throw cannotOpen(error);
  }
  const open = new Set([master, slave]);
  const close = (fd: number) => {
    if (open.delete(fd)) fs.closeSync(fd);
  };
  return {
    slave,
    closeSlave: () => close(slave),
    resize(columns, rows) {
      if (open.has(master)) ioctl(master, TIOCSWINSZ, new Uint16Array([rows, columns, 0, 0]));
    },
    async write(bytes) {
      for (let at = 0; at < bytes.length && open.has(master);) {
        at += await new Promise<number>((resolve, reject) =>
          fs.write(
            master,
            bytes,
            at,
            bytes.length - at,
            null,
            (error, count) => error ? reject(error) : resolve(count),
          )
        );
      }
    },
    async *read() {
      for (;;) {
        const buffer = new Uint8Array(CHUNK_BYTES);
        const count = await new Promise<number>((resolve, reject) =>
          fs.read(master, buffer, 0, CHUNK_BYTES, null, (error, count) => {
            if (error === null) resolve(count);
            else if (errnoOf(error) === "EIO") resolve(0); // the last one to have the slave is gone
            else reject(error);
          })
        );
        if (count === 0) return;
        yield buffer.subarray(0, count);
      }
    },
    [Symbol.dispose]() {
      for (const fd of [...open]) close(fd);
      library.close();
    },
  };
}

function openLibc() {
  return Deno.dlopen("libc.so.6", { ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" } });
}

function cannotOpen(cause: unknown): Failure {
  return new Failure("OSERR", "Cannot open a terminal for the container on this host", {
    code: "no_terminal",
    hint: "run it without -t",
    cause,
  });
}
