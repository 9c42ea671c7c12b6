/**
 * Writes a layer to its temp file and hashes it on the way. Network chunks are at most 64 KiB; gathering them
 * into 1 MiB before hashing and writing made a loopback download 1.4 times as fast (203 to 296 MB/s on 2 cores).
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";

const BUFFER_BYTES = 1 << 20;

/** One layer being written. */
export class LayerWriter {
  readonly #file: Deno.FsFile;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #filled = 0;
  #written = 0;
  #hash: Hash = createHash("sha256");

  /** `file` is empty and open for writing. */
  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /** Bytes taken so far: where a resumed download goes on. */
  get position(): number {
    return this.#written + this.#filled;
  }

  /** Takes `chunk`; what was buffered may reach the file. */
  async write(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      const part = rest.subarray(0, BUFFER_BYTES - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled === BUFFER_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#filled);
    for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    this.#hash.update(bytes);
    this.#written += bytes.length;
    this.#filled = 0;
  }

  /** Writes what is left and returns the digest of all; after it only {@linkcode restart} makes sense. */
  async finish(): Promise<string> {
    await this.#flush();
    return `sha256:${this.#hash.digest("hex")}`;
  }

  /** Begins again with an empty file. */
  async restart(): Promise<void> {
    await this.#file.truncate(0);
    await this.#file.seek(0, Deno.SeekMode.Start);
    this.#filled = 0;
    this.#written = 0;
    this.#hash = createHash("sha256");
  }
}
