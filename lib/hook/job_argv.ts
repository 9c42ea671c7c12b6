/**
 * The command line of a job. A script is executed itself where it is executable and names its interpreter, also from
 * a filesystem that forbids that (noexec): its interpreter is started with it, as the kernel would do.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import type { JobProgram } from "./protocol.ts";

const ANY_EXECUTE = 0o111;
/** The kernel reads as much of a first line (BINPRM_BUF_SIZE). */
const FIRST_LINE_BYTES = 256;

/** A command line, and another one for when the first may not be executed. */
export interface JobArgv {
  readonly argv: readonly string[];
  readonly instead?: readonly string[];
}

/** How to run `program`. What cannot be found out about a script is left for its start to say. */
export function jobArgv(program: JobProgram): JobArgv {
  if ("argv" in program) return { argv: program.argv };
  const { script } = program;
  const interpreter = interpreterOf(script);
  if (interpreter === undefined) return { argv: ["sh", "-e", script] };
  return { argv: [script], instead: [...interpreter, script] };
}

/** What an executable script's first line names: a program and at most one argument (execve(2)). */
function interpreterOf(script: string): string[] | undefined {
  try {
    using file = Deno.openSync(script);
    const { mode, isFile } = file.statSync();
    if (!isFile || ((mode ?? 0) & ANY_EXECUTE) === 0) return undefined;
    const bytes = new Uint8Array(FIRST_LINE_BYTES);
    const text = new TextDecoder().decode(bytes.subarray(0, file.readSync(bytes) ?? 0));
    const [, program, argument] = /^#![ \t]*([^ \t\n]+)(?:[ \t]+([^\n]*?))?[ \t]*(?:\n|$)/.exec(text) ?? [];
    if (program === undefined) return undefined;
    return argument ? [program, argument] : [program];
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined; // sh will say what is wrong with it
  }
}
