/**
 * What the tests of the portable file share: the file, one that runs portable_program.ts instead of davit,
 * and a cache directory of their own.
 *
 * @module
 */
import { BUILD_PROGRAMS, portableFile } from "./portable.ts";
import { withProgram } from "./portable_layout.ts";
import { RawExec, readEnvironment } from "./raw_exec.ts";
import { run, type RunResult } from "./run.ts";
import { tempDir } from "./temp.ts";

/** For needs(). */
export const STAGE_PROGRAMS: readonly string[] = BUILD_PROGRAMS;

/** Made by {@linkcode setPortableStage}. */
export class PortableStage implements AsyncDisposable {
  readonly dir: Awaited<ReturnType<typeof tempDir>>;
  readonly raw: RawExec;
  /** The portable davit. */
  readonly davit: string;
  /** The portable file with portable_program.ts. */
  readonly program: string;

  constructor(dir: PortableStage["dir"], raw: RawExec, davit: string) {
    this.dir = dir;
    this.raw = raw;
    this.davit = davit;
    this.program = dir.join("program");
  }

  /** The cache directory of both files. */
  get cache(): string {
    return this.dir.join("cache");
  }

  /** Runs davit with this environment, DAVIT_CACHE added, and nothing else. */
  async runDavit(args: readonly string[], env: readonly string[] = [], closed?: string): Promise<RunResult> {
    return await this.#run(this.davit, args, env, closed);
  }

  /** Runs portable_program.ts with this environment, DAVIT_CACHE added, and nothing else. */
  async runProgram(
    args: readonly string[],
    env: readonly string[] = [],
    closed?: string,
  ): Promise<RunResult> {
    return await this.#run(this.program, args, env, closed);
  }

  /** What portable_program.ts hands on to a program that it starts, without the DAVIT_CACHE added here. */
  async handedOn(env: readonly string[]): Promise<{ result: RunResult; entries: string[] }> {
    const file = this.dir.join(`environ-${crypto.randomUUID()}`);
    const result = await this.runProgram(["run", ...this.raw.environ(file)], env);
    const entries = result.code === 0 ? await readEnvironment(file) : [];
    return { result, entries: entries.filter((entry) => entry !== this.#cacheEntry) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dir[Symbol.asyncDispose]();
  }

  get #cacheEntry(): string {
    return `DAVIT_CACHE=${this.cache}`;
  }

  async #run(
    program: string,
    args: readonly string[],
    env: readonly string[],
    closed = "",
  ): Promise<RunResult> {
    return await this.raw.run({ program, argv: ["davit", ...args], env: [...env, this.#cacheEntry], closed });
  }
}

/** Builds both files, below a new temporary directory. */
export async function setPortableStage(name: string): Promise<PortableStage> {
  const dir = await tempDir(name);
  const davit = await portableFile();
  const stage = new PortableStage(dir, await RawExec.build(dir), davit);
  const main = new URL("portable_program.ts", import.meta.url).pathname;
  await withProgram(davit, { main, output: stage.program, workDir: dir.path });
  // Unpacked once: two first starts of 100 MB each would be most of a test's time.
  for (const file of [davit, stage.program]) {
    const { code, stderr } = await run([file, "args"], { env: { DAVIT_CACHE: stage.cache } });
    if (file === stage.program && code !== 0) throw new Error(`the stage does not start: ${stderr}`);
  }
  return stage;
}
