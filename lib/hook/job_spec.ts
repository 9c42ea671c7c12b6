/**
 * Reads the body that asks for a job. Every fault is reported, not the first alone.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import {
  BACKGROUND_GRACE_MS,
  type JobOptions,
  type JobProgram,
  KILL_TIMES,
  type KillTimes,
} from "./protocol.ts";

/** A spec with nothing left open. */
export interface CheckedSpec {
  readonly program: JobProgram;
  readonly env: Readonly<Record<string, string | null>>;
  readonly cwd: string | undefined;
  readonly prependPath: readonly string[];
  readonly hasInput: boolean;
  readonly killTimes: KillTimes;
  readonly backgroundGraceMs: number;
}

/** MAX_ARG_STRLEN of execve(2), the zero at the end included: 32 pages of 4 KiB. */
const STRING_LIMIT_BYTES = 131_072;
const TIME_LIMIT_MS = 86_400_000;
const KEYS = new Set([
  ...["argv", "script", "env", "cwd", "prepend_path", "stdin", "kill", "background_grace_ms"],
]);

/** Checks what JSON.parse gave. Throws a Failure (`bad_spec`) that names all that is wrong. */
export function checkSpec(json: unknown): CheckedSpec {
  const checker = new Checker();
  const spec = checker.check(json);
  if (checker.faults.length === 0) return spec;
  throw new Failure("DATAERR", checker.faults.join("; "), { code: "bad_spec" });
}

type Members = Record<string, unknown>;

class Checker {
  readonly faults: string[] = [];

  check(json: unknown): CheckedSpec {
    const members = this.#object("the body", json);
    for (const key of Object.keys(members)) {
      if (!KEYS.has(key)) this.#fault(`${key}: there is no such member`);
    }
    const { stdin = "null" } = members;
    if (stdin !== "null" && stdin !== "pipe") this.#fault('stdin: expected "null" or "pipe"');
    const { cwd } = members;
    return {
      program: this.#program(members),
      env: this.#env(members.env),
      cwd: cwd === undefined ? undefined : this.#absolute("cwd", cwd),
      prependPath: this.#list("prepend_path", members.prepend_path ?? []).map((item, index) =>
        this.#text(`prepend_path[${index}]`, item)
      ),
      hasInput: stdin === "pipe",
      killTimes: this.#killTimes(members.kill),
      backgroundGraceMs: this.#time(
        "background_grace_ms",
        members.background_grace_ms ?? BACKGROUND_GRACE_MS,
      ),
    };
  }

  #program({ argv, script }: Members): JobProgram {
    if ((argv === undefined) === (script === undefined)) {
      this.#fault("expected either argv or script");
      return { argv: [] };
    }
    if (script !== undefined) return { script: this.#absolute("script", script) };
    const items = this.#list("argv", argv);
    const texts = items.map((item, index) => this.#text(`argv[${index}]`, item));
    if (items.length === 0 || items[0] === "") this.#fault("argv: expected a program");
    texts.forEach((text, index) => this.#checkSize(`argv[${index}]`, text));
    return { argv: texts };
  }

  #env(value: unknown): NonNullable<JobOptions["env"]> {
    const env: Record<string, string | null> = Object.create(null); // __proto__ is a name like any other
    for (const [name, item] of Object.entries(this.#object("env", value ?? {}))) {
      if (name === "" || /[=\0]/.test(name)) {
        this.#fault(`env ${JSON.stringify(name)}: no name of a variable`);
      }
      if (item === null) {
        env[name] = null;
        continue;
      }
      env[name] = this.#text(`env ${name}`, item);
      this.#checkSize(`env ${name}`, `${name}=${env[name]}`);
    }
    return env;
  }

  #killTimes(value: unknown): KillTimes {
    const given = { ...KILL_TIMES, ...this.#object("kill", value ?? {}) } as Members;
    return {
      int_ms: this.#time("kill.int_ms", given.int_ms),
      term_ms: this.#time("kill.term_ms", given.term_ms),
      kill_ms: this.#time("kill.kill_ms", given.kill_ms),
    };
  }

  #checkSize(what: string, text: string): void {
    const bytes = new TextEncoder().encode(text).length + 1;
    if (bytes <= STRING_LIMIT_BYTES) return;
    this.#fault(
      `${what}: ${bytes} bytes are too large, the kernel takes ${STRING_LIMIT_BYTES} in one string`,
    );
  }

  #time(what: string, value: unknown): number {
    if (typeof value === "number" && value >= 0 && value <= TIME_LIMIT_MS) return value;
    this.#fault(`${what}: expected milliseconds, 0 to ${TIME_LIMIT_MS}`);
    return 0;
  }

  #absolute(what: string, value: unknown): string {
    if (typeof value !== "string" || value.startsWith("/")) return this.#text(what, value);
    this.#fault(`${what}: expected an absolute path`);
    return "";
  }

  #text(what: string, value: unknown): string {
    if (typeof value === "string" && !value.includes("\0")) return value;
    this.#fault(`${what}: expected a text${typeof value === "string" ? " without NUL" : ""}`);
    return "";
  }

  #list(what: string, value: unknown): readonly unknown[] {
    if (Array.isArray(value)) return value;
    this.#fault(`${what}: expected a list`);
    return [];
  }

  #object(what: string, value: unknown): Members {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Members;
    this.#fault(`${what}: expected an object`);
    return {};
  }

  #fault(text: string): void {
    this.faults.push(text);
  }
}
