import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { type PortableStage, setPortableStage, STAGE_PROGRAMS } from "../../testdata/portable_stage.ts";
import { run } from "../../testdata/run.ts";

const stageNeeds = needs({ programs: STAGE_PROGRAMS });

/** Ways to the file, each as a script that gets it as `$1`, and its directory as the working directory. */
const WAYS: Record<string, string> = {
  "an absolute path": 'exec "$1" again facts',
  "a relative path": "exec ./program again facts",
  "PATH": 'PATH="$PWD:$PATH" && exec program again facts',
  "a symlink": 'ln -sf "$1" link && exec ./link again facts',
  "a symlink to a symlink": 'ln -sf "$1" first && ln -sf first second && exec ./second again facts',
  "a hard link": 'ln -f "$1" hard && exec ./hard again facts',
  "a descriptor": 'exec 9<"$1" && exec /proc/self/fd/9 again facts',
  "/dev/fd": 'exec 9<"$1" && exec /dev/fd/9 again facts',
  "another's descriptor": 'exec 9<"$1" && sh -c "/proc/$$/fd/9 again facts"',
  "a shell that replaces nothing": '"$1" again facts; exit $?',
};

async function factsBy(script: string, file: string, stage: PortableStage, cache = stage.cache) {
  const { code, stdout, stderr } = await run(["bash", "-c", script, "bash", file], {
    cwd: stage.dir.path,
    env: { DAVIT_CACHE: cache, HOME: stage.dir.join("home") },
  });
  assert.equal(code, 0, stderr);
  return { facts: JSON.parse(stdout) as { mode: string; file: string; unpacked: string }, stderr };
}

Deno.test({
  name: "portable file: runs by any way to it",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("ways");
    for (const [name, script] of Object.entries(WAYS)) {
      await t.step(name, async () => {
        const { facts, stderr } = await factsBy(script, stage.program, stage);
        assert.deepEqual([facts.mode, stderr], ["portable", ""]);
        const file = name === "a hard link" ? stage.dir.join("hard") : stage.program;
        assert.equal(facts.file, file);
      });
    }
    for (
      const name of ["a b", "%41", "a#b?c", "a\nb", "$HOME", "`x`", "-A", "é€😀", "a;b:c", "a\\b", "'\""]
    ) {
      await t.step(`called ${JSON.stringify(name)}`, async () => {
        const file = stage.dir.join(name);
        await Deno.rename(stage.program, file);
        try {
          assert.equal((await factsBy('exec "$1" again facts', file, stage)).facts.file, file);
        } finally {
          await Deno.rename(file, stage.program);
        }
      });
    }
    await t.step("called what JavaScript cannot say", async () => {
      const script = `name="$PWD/$(printf 'a\\377')" && ln -f "$1" "$name" && exec "$name" again facts`;
      assert.match((await factsBy(script, stage.program, stage)).facts.file, /^\/proc\/self\/fd\/\d+$/);
    });
  },
});

Deno.test({
  name: "portable file: unpacks to a directory of any name that the loader can be given",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("names");
    await Deno.mkdir(stage.dir.join("home"));
    for (
      const name of [
        "a b",
        "%41",
        "a#b?c",
        "a\\b",
        "é€😀",
        "'\"`",
        "a\tb",
        "-x",
        "[x]*",
        "a/b/c/",
        "x/../y",
        "z".repeat(200),
      ]
    ) {
      await t.step(JSON.stringify(name), async () => {
        const cache = `${stage.dir.path}/${name}`;
        const { facts, stderr } = await factsBy('exec "$1" again facts', stage.program, stage, cache);
        assert.equal(stderr, "");
        assert.equal(facts.unpacked.slice(0, -33), await Deno.realPath(cache));
        await Deno.remove(cache, { recursive: true });
      });
    }
    for (const name of ["a:b", "a;b", "$ORIGIN", "a\nb"]) {
      await t.step(`not ${JSON.stringify(name)}`, async () => {
        const cache = stage.dir.join(name);
        const { facts, stderr } = await factsBy('exec "$1" facts', stage.program, stage, cache);
        assert.match(
          stderr,
          /^davit: cannot use DAVIT_CACHE: .* colon, semicolon, dollar sign or newline\n$/,
        );
        assert.equal(facts.unpacked.startsWith(stage.dir.join("home/.cache/davit/")), true);
      });
    }
    await t.step("not what JavaScript cannot say", async () => {
      const script = `DAVIT_CACHE="$PWD/$(printf 'c\\377')" exec "$1" facts`;
      const { facts, stderr } = await factsBy(script, stage.program, stage);
      assert.match(stderr, /^davit: cannot use DAVIT_CACHE: .*: its name is not UTF-8\n$/);
      assert.equal(facts.unpacked.startsWith(stage.dir.join("home/.cache/davit/")), true);
    });
    for (const length of [3_800, 4_060, 4_090, 5_000, 100_000]) {
      await t.step(`whatever is ${length} bytes long`, async () => {
        const cache = `${stage.dir.path}${"/./././.".repeat(length)}`.slice(0, length - 1) + "x";
        const { facts } = await factsBy('exec "$1" facts', stage.program, stage, cache);
        assert.equal(facts.mode, "portable");
      });
    }
  },
});
