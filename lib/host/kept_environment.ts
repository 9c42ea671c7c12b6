/**
 * The variables that the portable file's launcher (scripts/launcher.c) kept from the runtime, each under
 * another name, because they would have steered or broken it. What davit starts is to have them as davit was
 * given them.
 *
 * @module
 */

/** The part of `Deno.env` that is needed here; main hands it in. */
export interface EnvironmentAccess {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
  delete(name: string): void;
  toObject(): Record<string, string>;
}

const KEPT = "DAVIT_KEPT_";
const KEPT_BYTES = new TextEncoder().encode(KEPT);
const EQUALS = 0x3d;

/** Gives every variable that was kept its name back. `environ` is where the kernel shows what we were given. */
export function giveBackKept(
  env: EnvironmentAccess,
  { environ = "/proc/self/environ" }: { environ?: string } = {},
): void {
  const kept = Object.entries(env.toObject()).filter(([name]) => name.startsWith(KEPT));
  // All names are freed before the first is given back: somebody's own may be called as a kept one is.
  for (const [name] of kept) env.delete(name);
  for (const [name, value] of kept) env.set(name.slice(KEPT.length), value);
  giveBackBytes(environ);
}

/** Deno cannot rename what is not UTF-8, in name or value, yet hands it on to what we start: libc can. */
function giveBackBytes(environ: string): void {
  const found = readEntries(environ).filter(({ name, value }) =>
    startsWith(name, KEPT_BYTES) && !(isUtf8(name) && isUtf8(value))
  );
  if (found.length === 0) return;
  const libc = Deno.dlopen("libc.so.6", {
    setenv: { parameters: ["buffer", "buffer", "i32"], result: "i32" },
    unsetenv: { parameters: ["buffer"], result: "i32" },
  });
  for (const { name } of found) libc.symbols.unsetenv(zeroEnded(name));
  for (const { name, value } of found) {
    libc.symbols.setenv(zeroEnded(name.subarray(KEPT_BYTES.length)), zeroEnded(value), 1);
  }
  libc.close();
}

/** proc_pid_environ(5). What has no "=" is no variable, and Deno would not hand it on. */
function readEntries(environ: string): { name: Uint8Array; value: Uint8Array }[] {
  const bytes = Deno.readFileSync(environ);
  const entries: { name: Uint8Array; value: Uint8Array }[] = [];
  for (let at = 0, end = 0; at < bytes.length; at = end + 1) {
    const zero = bytes.indexOf(0, at);
    end = zero < 0 ? bytes.length : zero;
    const equals = bytes.indexOf(EQUALS, at);
    if (equals < 0 || equals > end) continue;
    entries.push({ name: bytes.subarray(at, equals), value: bytes.subarray(equals + 1, end) });
  }
  return entries;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return start.every((byte, index) => bytes[index] === byte);
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function zeroEnded(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const ended = new Uint8Array(bytes.length + 1);
  ended.set(bytes);
  return ended;
}
