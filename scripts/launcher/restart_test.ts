import assert from "node:assert/strict";
import { isAlive } from "../../testdata/alive.ts";
import { needs } from "../../testdata/needs.ts";
import { type PortableStage, setPortableStage, STAGE_PROGRAMS } from "../../testdata/portable_stage.ts";
import { type RunResult, start } from "../../testdata/run.ts";

const stageNeeds = needs({ programs: STAGE_PROGRAMS });

/** What happens to the file and the cache between a start and the start again. */
interface Mishap {
  readonly name: string;
  readonly happen: (file: string, cache: string) => Promise<void>;
  /** What the file is called by then, after its name. */
  readonly suffix?: string;
}

async function wipe(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true });
}

/** As an installer does it. */
async function replace(file: string): Promise<void> {
  await Deno.writeTextFile(`${file}.new`, "#!/bin/sh\necho another version\n", { mode: 0o755 });
  await Deno.rename(`${file}.new`, file);
}

const MISHAPS: readonly Mishap[] = [
  { name: "nothing", happen: () => Promise.resolve(), suffix: "" },
  { name: "the cache was wiped", happen: (_, cache) => wipe(cache), suffix: "" },
  { name: "the file was removed", happen: (file) => wipe(file) },
  { name: "the file was replaced", happen: (file) => replace(file) },
  { name: "the file was renamed", happen: (file) => Deno.rename(file, `${file}.old`), suffix: ".old" },
  {
    name: "file and cache are gone",
    happen: async (file, cache) => {
      await wipe(file);
      await wipe(cache);
    },
  },
];

/** Starts `file`, lets the mishap happen when it is at work, and gives what came of `words`. */
async function afterwards(
  stage: PortableStage,
  { happen }: Pick<Mishap, "happen">,
  words: readonly string[],
): Promise<{ result: RunResult; file: string }> {
  const go = stage.dir.join(`go-${crypto.randomUUID()}`);
  const file = stage.dir.join(`copy-${crypto.randomUUID()}`);
  const cache = stage.dir.join(`cache-${crypto.randomUUID()}`);
  await Deno.copyFile(stage.program, file);
  await using waiting = start([file, "when", go, ...words], { env: { DAVIT_CACHE: cache } });
  await untilHeld(waiting.pid, file);
  await happen(file, cache);
  await Deno.writeTextFile(go, "");
  return { result: await waiting.done, file };
}

/** Until the runtime has opened its file: the launcher's own descriptor is closed at its end. */
async function untilHeld(pid: number, file: string): Promise<void> {
  for (;;) {
    if (!isAlive(pid)) throw new Error(`${file} ended too early`);
    const isRuntime = (await Deno.readTextFile(`/proc/${pid}/cmdline`)).includes("--inhibit-cache");
    if (isRuntime && heldBy(pid).includes(file)) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function heldBy(pid: number): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return ""; // closed since
    }
  });
}

Deno.test({
  name: "portable file: starts itself again, whatever became of its file and its cache",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("restart");
    for (const mishap of MISHAPS) {
      await t.step(mishap.name, async () => {
        const { result, file } = await afterwards(stage, mishap, ["again", "facts"]);
        assert.deepEqual([result.code, result.stderr], [0, ""]);
        const facts = JSON.parse(result.stdout);
        assert.equal(facts.mode, "portable");
        if (mishap.suffix !== undefined) assert.equal(facts.file, `${file}${mishap.suffix}`);
        else assert.match(facts.file, /^\/proc\/self\/fd\/\d+$/);
      });
      await t.step(`${mishap.name}, three starts deep`, async () => {
        const words = ["again", "again", "again", "run", "sh", "-c", "exit 42"];
        const { result } = await afterwards(stage, mishap, words);
        assert.deepEqual([result.code, result.stderr], [42, ""]);
      });
    }
    await t.step("what is started from a removed file inherits no descriptor", async () => {
      const words = ["again", "again", "run", "ls", "-l", "/proc/self/fd"];
      const { result } = await afterwards(stage, { happen: (file) => wipe(file) }, words);
      const { result: plain } = await afterwards(stage, { happen: () => Promise.resolve() }, words);
      assert.equal(result.stdout.split("\n").length, plain.stdout.split("\n").length, result.stdout);
      assert.doesNotMatch(result.stdout, /copy-/);
    });
  },
});
