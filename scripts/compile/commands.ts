/**
 * Programs that the build runs, and what it says.
 *
 * @module
 */

const SHOWN_CHARS = 2_000;

/** Runs `argv` and gives its standard output. Throws with its last words when it fails. */
export async function succeed(
  argv: readonly string[],
  { cwd, env }: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const [program = "", ...args] = argv;
  const { success, code, stdout, stderr } = await new Deno.Command(program, {
    args,
    ...cwd !== undefined && { cwd },
    env: { LC_ALL: "C", ...env },
    stdin: "null",
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  const words = new TextDecoder().decode(stderr).trim().slice(-SHOWN_CHARS);
  throw new Error(`"${argv.slice(0, 3).join(" ")} …" ended with status ${code}: ${words}`);
}

/** One line on stderr: stdout has the results. */
export function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}
