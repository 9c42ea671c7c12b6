/**
 * Runs in davit's place in a portable file (portable_layout.ts): does with lib/host/self.ts what davit does,
 * and shows what comes of it. The words on its command line are done from left to right.
 *
 *   args …            prints the arguments as JSON
 *   facts             prints what selfFacts() says, as JSON
 *   run PROGRAM …     starts it as davit starts its user's programs, and ends with its status
 *   when FILE …       goes on once FILE is there
 *   again …           starts itself with the rest, and ends with that status
 *
 * @module
 */
import { Failure } from "../lib/failure.ts";
import { adoptLaunch, selfFacts, selfStart } from "../lib/host/self.ts";

async function perform([word, ...rest]: readonly string[]): Promise<number> {
  if (word === "args") return print(rest);
  if (word === "facts") return print(selfFacts());
  if (word === "run") return await child(rest);
  if (word === "again") {
    const { argv, env } = selfStart();
    return await child([...argv, ...rest], env);
  }
  if (word === "when") {
    const [file = "", ...then] = rest;
    while (!exists(file)) await new Promise((resolve) => setTimeout(resolve, 10));
    return await perform(then);
  }
  throw new Error(`no such word: ${word}`);
}

function print(value: unknown): number {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  return 0;
}

async function child([program = "", ...args]: readonly string[], env = {}): Promise<number> {
  return (await new Deno.Command(program, { args, env }).spawn().status).code;
}

function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}

adoptLaunch(Deno.env, Deno.mainModule);
try {
  Deno.exit(await perform(Deno.args));
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  Deno.stderr.writeSync(new TextEncoder().encode(`${error.code}: ${error.message}\n`));
  Deno.exit(error.exitStatus);
}
