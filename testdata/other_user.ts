/**
 * Runs Deno scripts of this repository as another user. That user may reach neither the deno of npx nor this
 * checkout (both are often below /root), so a mount namespace of the run's own shows them at a place that it can.
 *
 * @module
 */
import { tempDir } from "./temp.ts";

const ROOT = new URL("../", import.meta.url).pathname;

/** A place from which other users can start what is in this checkout. */
export interface OtherUsers extends AsyncDisposable {
  /** The command line that runs `script` (from the top of the checkout) as `uid`. */
  argv(uid: number, script: string, args: readonly string[]): string[];
}

/** Prepares the mount points; needs root. */
export async function otherUsers(): Promise<OtherUsers> {
  const dir = await tempDir("users");
  for (const name of ["deno", "cache", "repo"]) await Deno.mkdir(dir.join(name));
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const binary = await Deno.realPath(Deno.execPath());
  const mounts = [[binary.replace(/\/[^/]*$/, ""), "deno"], [cache, "cache"], [ROOT, "repo"]]
    .map(([from, to]) => `mount --bind "${from}" "${dir.join(to!)}"`);
  return {
    argv: (uid, script, args) => [
      "unshare",
      "-m",
      "sh",
      "-euc",
      `${mounts.join("; ")}; cd /; exec "$@"`,
      "sh",
      "setpriv",
      `--reuid=${uid}`,
      `--regid=${uid}`,
      "--clear-groups",
      "env",
      `DENO_DIR=${dir.join("cache")}`,
      "HOME=/nonexistent",
      `${dir.join("deno")}/${binary.replace(/^.*\//, "")}`,
      "run",
      "-A",
      "--no-prompt",
      "--quiet",
      `--config=${dir.join("repo")}/deno.json`,
      `${dir.join("repo")}/${script}`,
      ...args,
    ],
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}
