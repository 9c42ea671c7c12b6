/**
 * Reads netrc files: machine, login and password in the format of ftp(1) and curl (quotes, escapes, macros,
 * comments). enroot's `.credentials` has the same format, but enroot lets a shell expand it first: there `$(…)`
 * is one word, which {@linkcode shellValue} judges.
 *
 * @module
 */

/** One machine's login. `machine` is undefined for a `default` entry. */
export interface NetrcEntry {
  readonly machine: string | undefined;
  readonly login: string | undefined;
  readonly password: string | undefined;
}

/** What a file says, and the lines that could not be read. */
export interface Netrc {
  readonly entries: readonly NetrcEntry[];
  /** 1-based. */
  readonly badLines: readonly number[];
}

interface Word {
  readonly text: string;
  readonly line: number;
}

/** Reads the text of a netrc file; what is malformed is passed over and its line reported. */
export function parseNetrc(text: string, { shell = false }: { shell?: boolean } = {}): Netrc {
  const words = splitWords(text, shell);
  const entries: { machine: string | undefined; login?: string; password?: string }[] = [];
  const badLines: number[] = [];
  for (let i = 0; i < words.length; i++) {
    const { text: key, line } = words[i]!;
    if (key === "default") {
      entries.push({ machine: undefined });
      continue;
    }
    const isKnown = ["machine", "login", "password", "account"].includes(key);
    const value = isKnown ? words[++i]?.text : undefined;
    const entry = entries.at(-1);
    if (value === undefined) badLines.push(line);
    else if (key === "machine") entries.push({ machine: value.toLowerCase() });
    else if (entry === undefined) badLines.push(line);
    else if (key === "login") entry.login = value;
    else if (key === "password") entry.password = value;
  }
  return {
    entries: entries.map(({ machine, login, password }) => ({ machine, login, password })),
    badLines: [...new Set(badLines)],
  };
}

function splitWords(text: string, shell: boolean): Word[] {
  const words: Word[] = [];
  let line = 1;
  let isFirst = true;
  for (let i = 0; i < text.length;) {
    const char = text[i]!;
    if (char === "\n") {
      line++;
      isFirst = true;
      i++;
    } else if (/\s/.test(char)) {
      i++;
    } else if (char === "#" && isFirst) {
      i = lineEnd(text, i);
    } else {
      const { word, next } = char === '"' && !shell ? quotedWord(text, i) : plainWord(text, i, shell);
      // A macro runs to the next empty line; it has nothing for us.
      const end = word === "macdef" ? macroEnd(text, next) : next;
      if (word !== "macdef") words.push({ text: word, line });
      line += text.slice(i, end).split("\n").length - 1;
      isFirst = false;
      i = end;
    }
  }
  return words;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

function macroEnd(text: string, from: number): number {
  const end = text.indexOf("\n\n", from);
  return end < 0 ? text.length : end;
}

function quotedWord(text: string, from: number): { word: string; next: number } {
  const short: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  let word = "";
  let i = from + 1;
  for (; i < text.length && text[i] !== '"' && text[i] !== "\n"; i++) {
    if (text[i] === "\\" && i + 1 < text.length) {
      i++;
      word += short[text[i]!] ?? text[i]!;
    } else word += text[i];
  }
  return { word, next: text[i] === '"' ? i + 1 : i };
}

function plainWord(text: string, from: number, shell: boolean): { word: string; next: number } {
  let depth = 0;
  let inTicks = false;
  let i = from;
  for (; i < text.length && text[i] !== "\n"; i++) {
    const char = text[i]!;
    if (shell && char === "`") inTicks = !inTicks;
    else if (shell && char === "(" && (depth > 0 || text[i - 1] === "$")) depth++;
    else if (shell && char === ")" && depth > 0) depth--;
    else if (/\s/.test(char) && depth === 0 && !inTicks) break;
  }
  return { word: text.slice(from, i), next: i };
}

/**
 * The value that enroot's shell would make of `text`, where that needs no program; undefined where it does, or
 * where a variable is not set. NGC's user name `$oauthtoken` stands for itself.
 */
export function shellValue(text: string, env: Readonly<Record<string, string>>): string | undefined {
  if (text === "$oauthtoken") return text;
  if (/\$\(|`/.test(text)) return undefined;
  const variable = /^\$(?:\{(\w+)\}|([A-Za-z_]\w*))$/.exec(text);
  if (variable) return env[variable[1] ?? variable[2]!] || undefined;
  return text.replace(/\\([$`\\])/g, "$1");
}
