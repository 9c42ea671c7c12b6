/**
 * Machines that show GPUs but have none, for tests: a directory that stands for /dev, and an nvidia-smi that can be
 * made another one at any time.
 *
 * @module
 */
import { tempDir } from "./temp.ts";

/** See the module's description. */
export interface GpuMachine extends AsyncDisposable {
  readonly dev: string;
  readonly tool: string;
  /** Processes that were started as nvidia-smi so far. */
  started(): Promise<number[]>;
  /** From now on nvidia-smi is the one in testdata/bin/`name`, after the shell commands `before`. */
  use(name: string, before?: string): Promise<void>;
}

/** Makes one. */
export async function machine(): Promise<GpuMachine> {
  const dir = await tempDir("gpu");
  await Deno.mkdir(dir.join("dev"));
  await Deno.writeTextFile(dir.join("dev/nvidia0"), "");
  const tool = dir.join("nvidia-smi");
  const pids = dir.join("pids");
  await Deno.writeTextFile(pids, "");
  return {
    dev: dir.join("dev"),
    tool,
    started: async () => (await Deno.readTextFile(pids)).split("\n").filter(Boolean).map(Number),
    async use(name, before = "") {
      const fake = decodeURIComponent(new URL(`bin/${name}/nvidia-smi`, import.meta.url).pathname);
      const script = `#!/bin/sh\necho $$ >>${pids}\n${before}\nexec ${fake} "$@"\n`;
      // A file that is being executed cannot be written.
      await Deno.writeTextFile(`${tool}.new`, script, { mode: 0o755 });
      await Deno.rename(`${tool}.new`, tool);
    },
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

/** Waits for a condition, half a minute at most. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const startedMs = performance.now(); !await condition();) {
    if (performance.now() - startedMs > 30_000) throw new Error(`still waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
