/**
 * Starts programs with any bytes as arguments and environment, and without some of their standard
 * descriptors; raw_exec.c does it. Bytes are written as text whose characters are the bytes: "\xff" is one,
 * "\xc3\xa9" is an é.
 *
 * @module
 */
import { must } from "./real_registry.ts";
import { run, type RunResult } from "./run.ts";
import type { TempDir } from "./temp.ts";

/** What a program is to be given. */
export interface RawStart {
  readonly program: string;
  /** From argv[0] on. */
  readonly argv: readonly string[];
  /** Whole entries, `NAME=value`; nothing else is in its environment. */
  readonly env: readonly string[];
  /** Digits of the descriptors that it does not get. */
  readonly closed?: string;
}

/** The helper, compiled. */
export class RawExec {
  readonly #dir: TempDir;
  readonly #program: string;

  private constructor(dir: TempDir, program: string) {
    this.#dir = dir;
    this.#program = program;
  }

  /** Compiles it below `dir`; needs cc. */
  static async build(dir: TempDir): Promise<RawExec> {
    const program = dir.join("raw_exec");
    const source = new URL("raw_exec.c", import.meta.url).pathname;
    await must(["cc", "-O1", "-static", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
    return new RawExec(dir, program);
  }

  /** The command line that starts it. */
  async argv({ program, argv, env, closed = "" }: RawStart): Promise<string[]> {
    const file = this.#dir.join(`raw-${crypto.randomUUID()}`);
    await Deno.writeFile(`${file}.env`, stringsOf(env));
    await Deno.writeFile(`${file}.argv`, stringsOf(argv));
    return [this.#program, closed, program, `${file}.env`, `${file}.argv`];
  }

  /** Runs it to its end. */
  async run(start: RawStart): Promise<RunResult> {
    return await run(await this.argv(start));
  }

  /** The command line that writes the environment it is given to `file`; see {@linkcode readEnvironment}. */
  environ(file: string): string[] {
    return [this.#program, "--environ", file];
  }
}

/** The sorted entries that a program was given. */
export async function readEnvironment(file: string): Promise<string[]> {
  const text = textOf(await Deno.readFile(file));
  return text.split("\0").slice(0, -1).sort();
}

function stringsOf(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(texts.map((text) => `${text}\0`).join(""), (char) => char.charCodeAt(0));
}

/** `TextDecoder("latin1")` would not do: it is windows-1252, which has other characters for 0x80 to 0x9f. */
function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
