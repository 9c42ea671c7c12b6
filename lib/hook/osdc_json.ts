/**
 * Reads the body of `POST /exec` of the OSDC protocol: one flat JSON object of strings, as that fork's own server
 * reads it. Its set of accepted texts is neither JSON nor a part of it (commas may be missing or doubled, control
 * characters may stand bare; numbers, `\b`, `\f` and surrogates are refused), and a client sees the difference as
 * `invalid body` or `missing id or path`: so it is read the same way here.
 *
 * @module
 */

/** What counts as a blank in Rust (Unicode White_Space); JavaScript's own set has U+FEFF and lacks U+0085. */
const BLANK_REGEXP = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** Keys and values of `body`, a later key over an earlier one; undefined when it is not such an object. */
export function parseFlatObject(body: string): Map<string, string> | undefined {
  const text = trimBlanks(body);
  if (text.length < 2 || text[0] !== "{" || text.at(-1) !== "}") return undefined;
  const reader = new Reader(text.slice(1, -1));
  const members = new Map<string, string>();
  for (;;) {
    reader.skip((char) => char === "," || BLANK_REGEXP.test(char));
    if (reader.isAtEnd) return members;
    const key = reader.readString();
    reader.skip((char) => BLANK_REGEXP.test(char));
    if (key === undefined || reader.next() !== ":") return undefined;
    reader.skip((char) => BLANK_REGEXP.test(char));
    const value = reader.readString();
    if (value === undefined) return undefined;
    members.set(key, value);
  }
}

/** `text` as a JSON string in the form that server prints: only what must be escaped is. */
export function quoteFlat(text: string): string {
  // JSON.stringify differs in two: it has short forms for \b and \f, and escapes lone surrogates.
  // deno-lint-ignore no-control-regex -- control characters are what must be escaped
  return `"${text.replace(/["\\\u0000-\u001f]/g, escapeOf)}"`;
}

function escapeOf(char: string): string {
  const short = Object.entries(SHORT_ESCAPES).find(([, meant]) => meant === char)?.[0];
  return short === undefined ? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}` : `\\${short}`;
}

function trimBlanks(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && BLANK_REGEXP.test(text[from]!)) from++;
  while (to > from && BLANK_REGEXP.test(text[to - 1]!)) to--;
  return text.slice(from, to);
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  next(): string | undefined {
    return this.#text[this.#at++];
  }

  skip(isSkipped: (char: string) => boolean): void {
    while (!this.isAtEnd && isSkipped(this.#text[this.#at]!)) this.#at++;
  }

  readString(): string | undefined {
    if (this.next() !== '"') return undefined;
    let value = "";
    for (;;) {
      const char = this.next();
      if (char === undefined) return undefined;
      if (char === '"') return value;
      const piece = char === "\\" ? this.#readEscape() : char;
      if (piece === undefined) return undefined;
      value += piece;
    }
  }

  #readEscape(): string | undefined {
    const char = this.next() ?? "";
    if (char !== "u") return SHORT_ESCAPES[char];
    const digits = this.#text.slice(this.#at, this.#at + 4);
    this.#at += 4;
    const code = /^[0-9a-fA-F]{4}$/.test(digits) ? parseInt(digits, 16) : NaN;
    // A surrogate alone is no character, and that server looks at one escape at a time.
    return Number.isNaN(code) || (code >= 0xd800 && code <= 0xdfff) ? undefined : String.fromCharCode(code);
  }
}
