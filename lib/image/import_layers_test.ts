import assert from "node:assert/strict";
import { listImage, namesIn, setStage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { needs } from "../../testdata/needs.ts";
import type { ImportResult } from "./import.ts";

Deno.test({
  name: "image import: a layer that went bad in the cache is fetched again",
  ...needs({ root: true, programs: STAGE_PROGRAMS }),
  async fn(t) {
    await using stage = await setStage();
    const first = JSON.parse((await stage.start(stage.args("--json")).done).stdout) as ImportResult;
    const blobs = `${stage.cache}/blobs/sha256`;
    const damages: [string, (path: string, size: number) => Promise<void>][] = [
      ["cut", (path) => Deno.truncate(path, 100)],
      ["empty", (path) => Deno.truncate(path, 0)],
      ["one byte changed, same size", async (path, size) => {
        using file = await Deno.open(path, { read: true, write: true });
        const byte = new Uint8Array(1);
        await file.seek(size >> 1, Deno.SeekMode.Start);
        await file.read(byte);
        await file.seek(size >> 1, Deno.SeekMode.Start);
        await file.write(byte.map((value) => value ^ 1));
      }],
      [
        "another layer's bytes",
        (path, size) => Deno.writeFile(path, crypto.getRandomValues(new Uint8Array(Math.min(size, 65536)))),
      ],
    ];
    for (const [name, damage] of damages) {
      for (const hex of await namesIn(blobs)) {
        await t.step(`${name}: ${hex.slice(0, 8)}`, async () => {
          await damage(`${blobs}/${hex}`, (await Deno.stat(`${blobs}/${hex}`)).size);
          await Deno.remove(stage.output);
          const before = stage.registry.requests().length;
          const ended = await stage.start(stage.args("--json")).done;
          assert.equal(ended.code, 0, ended.stderr);
          assert.equal((JSON.parse(ended.stdout) as ImportResult).sha256, first.sha256);
          const gets = stage.registry.requests().slice(before).filter((line) => line.includes(hex));
          assert.equal(gets.length, 1);
        });
      }
    }
    assert.equal(await listImage(stage.output), stage.expected);
    assert.deepEqual(await namesIn(stage.shared), ["image.sqsh", "image.sqsh.json", "image.sqsh.lock"]);
  },
});
