/**
 * Passes a hook's output on byte for byte and at once, but for the lines to be replaced; of each line that can
 * still become such a one the beginning is held back. Lines in the hook's own voice are kept as evidence.
 *
 * @module
 */
import { GUESS_BEGINNINGS, GUESS_REGEXP, matchRule, type RuleMatch } from "./wrap_rules.ts";

const LINE_FEED = 10;
/** A longer line than this is nobody's verdict. */
const LINE_LIMIT_BYTES = 1_024;
/** All that is looked at begins with one of these; most lines of a log do not, and cost one comparison. */
const FIRST_BYTES = new Set([..."[#:"].map((char) => char.charCodeAt(0)));
const BEGINNINGS = GUESS_BEGINNINGS.map((text) => new TextEncoder().encode(text));

/** start: of a line; plain: of no interest; kept: passed on and looked at; held: not passed on yet. */
type Mode = "start" | "plain" | "kept" | "held";

/** One output stream of a hook. */
export class WrapFilter {
  /** Lines that were taken out. */
  readonly guesses: string[] = [];
  /** The last line of each kind of fault. */
  readonly matches = new Map<RuleMatch["fault"], RuleMatch>();
  readonly #line = new Uint8Array(LINE_LIMIT_BYTES);
  #lineBytes = 0;
  #mode: Mode = "start";

  /** What is to be passed on of what was held back and of `piece`, parts of which it may be. */
  push(piece: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
    const out: Uint8Array<ArrayBuffer>[] = [];
    let from = 0;
    for (let at = 0; at < piece.length;) {
      if (this.#mode === "start") {
        this.#mode = FIRST_BYTES.has(piece[at]!) ? "held" : "plain";
        this.#lineBytes = 0;
        if (this.#mode === "held") {
          out.push(piece.subarray(from, at));
          from = at;
        }
      }
      const feed = piece.indexOf(LINE_FEED, at);
      const end = feed < 0 ? piece.length : feed;
      if (this.#mode !== "plain") {
        if (this.#mode === "held" && !this.#canStayHeld(piece.subarray(at, end))) {
          out.push(this.#line.slice(0, this.#lineBytes));
          this.#mode = "kept";
        }
        this.#append(piece.subarray(at, end));
        if (this.#mode === "held") from = end;
        if (feed >= 0 && this.#endLine(out)) from = end + 1;
      }
      if (feed >= 0) this.#mode = "start";
      at = feed < 0 ? end : end + 1;
    }
    out.push(piece.subarray(from));
    return out.filter(({ length }) => length > 0);
  }

  /** What is still held back at the end of the stream. */
  finish(): Uint8Array<ArrayBuffer>[] {
    const out: Uint8Array<ArrayBuffer>[] = [];
    if (this.#mode === "held" || this.#mode === "kept") this.#endLine(out);
    this.#mode = "start";
    return out;
  }

  #canStayHeld(more: Uint8Array): boolean {
    if (this.#lineBytes + more.length > LINE_LIMIT_BYTES) return false;
    const byteAt = (index: number) =>
      index < this.#lineBytes ? this.#line[index] : more[index - this.#lineBytes];
    return BEGINNINGS.some((beginning) =>
      beginning.every((byte, index) => [byte, undefined].includes(byteAt(index)))
    );
  }

  #append(bytes: Uint8Array): void {
    const kept = bytes.subarray(0, LINE_LIMIT_BYTES - this.#lineBytes);
    this.#line.set(kept, this.#lineBytes);
    this.#lineBytes += kept.length;
  }

  /** Whether the line was taken out, its line feed included. */
  #endLine(out: Uint8Array<ArrayBuffer>[]): boolean {
    const line = new TextDecoder().decode(this.#line.subarray(0, this.#lineBytes)).replace(/\r$/, "");
    const match = matchRule(line);
    if (match !== undefined) this.matches.set(match.fault, match);
    if (this.#mode !== "held") return false;
    if (!GUESS_REGEXP.test(line)) {
      out.push(this.#line.slice(0, this.#lineBytes));
      return false;
    }
    this.guesses.push(line);
    return true;
  }
}
