/**
 * What scripts and failed starts print, kept in one file per host, so that every failing host can be looked into
 * after its container is gone.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { cannotWrite } from "../host/publish.ts";

/** Of each file; what is beyond is counted, and the file says so. */
const KEPT_BYTES = 16 << 20;
const TAIL_BYTES = 2048;

/** One file that is being written. */
export interface KeptFile extends AsyncDisposable {
  readonly path: string;
  write(bytes: Uint8Array): Promise<void>;
  /** The end of what was written, as text. */
  tail(): string;
}

/** A directory for them: the one that was asked for, or a private temporary one that is made when needed. */
export class KeptOutput implements AsyncDisposable {
  readonly #asked: string | undefined;
  readonly #name: string;
  #directory: Promise<string> | undefined;
  #isWanted = false;

  constructor({ directory, name }: { directory?: string | undefined; name: string }) {
    this.#asked = directory;
    this.#name = name;
  }

  /** The directory stays after the end: something in it is worth reading. Its path. */
  async keep(): Promise<string> {
    this.#isWanted = true;
    return await this.#made();
  }

  /** Opens `HOST.KIND` for writing. */
  async open(host: string, kind: string): Promise<KeptFile> {
    const path = `${await this.#made()}/${fileNameOf(host)}.${kind}`;
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { write: true, create: true, truncate: true, mode: 0o600 });
    } catch (error) {
      throw cannotWrite(path, error);
    }
    return keptFile(file, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#asked !== undefined || this.#isWanted || this.#directory === undefined) return;
    await Deno.remove(await this.#directory, { recursive: true });
  }

  #made(): Promise<string> {
    return this.#directory ??= this.#make();
  }

  async #make(): Promise<string> {
    if (this.#asked === undefined) return await Deno.makeTempDir({ prefix: `davit-${this.#name}-` });
    try {
      await Deno.mkdir(this.#asked, { recursive: true });
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw cannotWrite(this.#asked, error);
    }
    return this.#asked;
  }
}

function keptFile(file: Deno.FsFile, path: string): KeptFile {
  const writer = file.writable.getWriter();
  let written = 0;
  let cut = 0;
  let tail = new Uint8Array();
  return {
    path,
    async write(bytes) {
      const fitting = bytes.subarray(0, Math.max(0, KEPT_BYTES - written));
      written += fitting.length;
      cut += bytes.length - fitting.length;
      tail = joined(tail, bytes).slice(-TAIL_BYTES);
      // A copy: the sender may use its buffer again.
      if (fitting.length > 0) await writer.write(fitting.slice());
    },
    tail: () => new TextDecoder().decode(tail).trim(),
    async [Symbol.asyncDispose]() {
      const note = `\n[davit left out ${cut} bytes: it keeps ${KEPT_BYTES}]\n`;
      if (cut > 0) await writer.write(new TextEncoder().encode(note));
      await writer.close();
    },
  };
}

function joined(head: Uint8Array, rest: Uint8Array): Uint8Array<ArrayBuffer> {
  const last = rest.subarray(-TAIL_BYTES);
  const both = new Uint8Array(head.length + last.length);
  both.set(head);
  both.set(last, head.length);
  return both;
}

/** A host's name as a file's: no slash, and no leading dot that would hide it. */
export function fileNameOf(host: string): string {
  return host.replaceAll(/[^A-Za-z0-9._@:-]/g, "_").replace(/^\./, "_");
}
