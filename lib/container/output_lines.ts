/**
 * Output of many hosts on one terminal: whole lines with the host's name before them, as they come. One host's
 * output stays as it is, byte for byte.
 *
 * @module
 */

/** Where lines go: stdout is channel 1, stderr 2. */
export type Sink = (channel: number, bytes: Uint8Array) => Promise<void>;

/** A line that is longer is cut into pieces of this size, so that memory has a bound. */
const LINE_BYTES = 65_536;
const NEWLINE = 10;

/** Takes pieces of output and hands whole lines to the sink. */
export class OutputLines {
  readonly #sink: Sink;
  readonly #isPrefixed: boolean;
  readonly #width: number;
  readonly #pending = new Map<string, Uint8Array>();

  constructor(hosts: readonly string[], sink: Sink) {
    this.#sink = sink;
    this.#isPrefixed = hosts.length > 1;
    this.#width = Math.max(...hosts.map((host) => host.length));
  }

  /** Resolves when the sink has taken what is complete. */
  async write(host: string, channel: number, bytes: Uint8Array): Promise<void> {
    if (!this.#isPrefixed) return await this.#sink(channel, bytes);
    const key = `${channel} ${host}`;
    const all = joined(this.#pending.get(key), bytes);
    let end = all.lastIndexOf(NEWLINE) + 1;
    if (end === 0 && all.length >= LINE_BYTES) end = all.length;
    this.#pending.set(key, all.slice(end));
    if (end > 0) await this.#sink(channel, this.#prefixed(host, all.subarray(0, end)));
  }

  /** What is left of a host without a newline at its end. */
  async end(host: string): Promise<void> {
    for (const channel of [1, 2]) {
      const rest = this.#pending.get(`${channel} ${host}`);
      this.#pending.delete(`${channel} ${host}`);
      if (rest !== undefined && rest.length > 0) await this.#sink(channel, this.#prefixed(host, rest));
    }
  }

  /** All lines in one piece: written at once they cannot mix with another host's. */
  #prefixed(host: string, lines: Uint8Array): Uint8Array {
    const prefix = new TextEncoder().encode(`${host.padEnd(this.#width)}  `);
    const pieces: Uint8Array[] = [];
    for (let start = 0; start < lines.length;) {
      const newline = lines.indexOf(NEWLINE, start);
      const end = newline < 0 ? lines.length : newline + 1;
      pieces.push(prefix, lines.subarray(start, end));
      if (newline < 0) pieces.push(Uint8Array.of(NEWLINE));
      start = end;
    }
    return concatenated(pieces);
  }
}

function joined(head: Uint8Array | undefined, rest: Uint8Array): Uint8Array {
  return head === undefined || head.length === 0 ? rest : concatenated([head, rest]);
}

function concatenated(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
