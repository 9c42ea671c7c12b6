import assert from "node:assert/strict";
import { listImage, namesIn, setStage, STAGE_PROGRAMS, startReader } from "../../testdata/import_stage.ts";
import { needs } from "../../testdata/needs.ts";
import { start } from "../../testdata/run.ts";
import { must } from "../../testdata/real_registry.ts";
import type { ImportResult } from "./import.ts";

const root = needs({ root: true, programs: STAGE_PROGRAMS });

function blobGets(requests: readonly string[]): string[] {
  return requests.filter((line) => /^GET .*\/blobs\//.test(line));
}

function countOf(results: readonly ImportResult[], kind: ImportResult["result"]): number {
  return results.filter(({ result }) => result === kind).length;
}

Deno.test({
  name: "image import: 30 processes at once are one import, and no reader ever sees half of it",
  ...root,
  async fn() {
    await using stage = await setStage();
    const reader = startReader(stage.output, stage.expected);
    const jobs = Array.from({ length: 30 }, () => stage.start(stage.args("--json")));
    const ends = await Promise.all(jobs.map(({ done }) => done));
    const { faults, reads } = await reader.stop();
    assert.ok(reads > 0, "the reader read");
    assert.deepEqual(ends.filter(({ code }) => code !== 0).map(({ stderr }) => stderr), []);
    const results = ends.map(({ stdout }) => JSON.parse(stdout) as ImportResult);
    assert.equal(countOf(results, "imported"), 1);
    assert.equal(new Set(results.map(({ sha256 }) => sha256)).size, 1);
    const gets = blobGets(stage.registry.requests());
    assert.equal(gets.length, 4, "three layers and the config, each once");
    assert.equal(new Set(gets).size, gets.length);
    assert.deepEqual(faults, []);
    assert.equal(await listImage(stage.output), stage.expected);
    assert.deepEqual(await namesIn(stage.shared), ["image.sqsh", "image.sqsh.json", "image.sqsh.lock"]);
  },
});

Deno.test({
  name: "image import: 30 jobs in 4 lanes, old shell jobs among them, never fail and import once",
  ...root,
  async fn() {
    await using stage = await setStage();
    const reader = startReader(stage.output, stage.expected);
    // What the launchers do: lock, list, else remove and import; its importer is a copy that takes its time.
    const reference = stage.dir.join("reference.sqsh");
    const made = await stage.start(stage.args().with(4, reference)).done;
    assert.equal(made.code, 0, made.stderr);
    await Deno.remove(stage.cache, { recursive: true });
    const shell = `exec 9>"$0.lock"; flock -w 600 9 || exit 9
      if ! unsquashfs -l "$0" >/dev/null 2>&1; then
        rm -f "$0"; head -c 300000 "$1" > "$0"; sleep 0.5; tail -c +300001 "$1" >> "$0"
      fi`;
    const before = blobGets(stage.registry.requests()).length;
    const lane = async (first: number) => {
      const codes: number[] = [];
      for (let job = first; job < 30; job += 4) {
        const isShell = job % 5 === 4;
        const process = isShell ? start(["bash", "-c", shell, stage.output, reference]) : stage.start();
        const { code, stderr } = await process.done;
        assert.equal(code, 0, stderr);
        codes.push(code);
      }
      return codes;
    };
    const codes = (await Promise.all([0, 1, 2, 3].map(lane))).flat();
    const { faults, reads } = await reader.stop();
    assert.equal(codes.length, 30);
    assert.deepEqual(faults, []);
    assert.ok(reads > 0, "the reader read");
    assert.equal(blobGets(stage.registry.requests()).length - before, 4);
    assert.equal(await listImage(stage.output), stage.expected);
  },
});

Deno.test({
  name: "image import: an image that an old script made is adopted without a download",
  ...root,
  async fn() {
    await using stage = await setStage();
    await must([
      "sh",
      "-c",
      'mksquashfs "$0" "$1" -comp lz4 -no-progress >/dev/null',
      stage.dir.join("bundle", "rootfs"),
      stage.output,
    ]);
    for (const expected of ["hit", "hit"]) {
      const ended = await stage.start(stage.args("--json")).done;
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal((JSON.parse(ended.stdout) as ImportResult).result, expected);
    }
    assert.deepEqual(blobGets(stage.registry.requests()), []);
  },
});

Deno.test({
  name: "image import: an old script that imports is waited for, and its image is used",
  ...root,
  async fn() {
    await using stage = await setStage();
    await using script = start([
      "bash",
      "-c",
      `exec 9>"$0.lock"; flock 9; echo held
      mksquashfs "$1" "$0" -comp lz4 -no-progress >/dev/null
      while [ ! -e "$2" ]; do sleep 0.05; done`,
      stage.output,
      stage.dir.join("bundle", "rootfs"),
      stage.dir.join("enough"),
    ]);
    await script.waitFor(/held/);
    await using job = stage.start(stage.args("--json"));
    await job.waitFor(/waiting .* for pid \d+/);
    await Deno.writeTextFile(stage.dir.join("enough"), "");
    const ended = await job.done;
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual(blobGets(stage.registry.requests()), []);
    assert.equal((await script.done).code, 0);
  },
});

Deno.test({
  name: "image import: two imports of one digest are byte-identical, by tag and by digest",
  ...root,
  async fn() {
    await using stage = await setStage();
    const first = JSON.parse((await stage.start(stage.args("--json")).done).stdout) as ImportResult;
    const byDigest = stage.uri.replace(":1", `@${first.digest}`).replace(
      /^docker:\/\/([^/]*)\//,
      "docker://$1#",
    );
    const other = `${stage.shared}/other.sqsh`;
    const args = ["image", "import", byDigest, "-o", other, "--cache-dir", stage.dir.join("cold"), "--json"];
    const ended = await stage.start([...args, "--allow-http", stage.registry.host]).done;
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal((JSON.parse(ended.stdout) as ImportResult).sha256, first.sha256);
    assert.equal(
      (await must(["sha256sum", stage.output])).slice(0, 64),
      (await must(["sha256sum", other])).slice(0, 64),
    );
  },
});
