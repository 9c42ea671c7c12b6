import assert from "node:assert/strict";
import { joined, latin1 } from "../../testdata/make_tar.ts";
import { run } from "../../testdata/compare_umoci.ts";
import { openLayer } from "./decompress.ts";
import { DamagedLayer } from "./layer_failure.ts";

const never = new AbortController().signal;

async function readLayer(path: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of openLayer({ digest: "sha256:test", path }, { signal: never })) parts.push(chunk);
  return joined(parts);
}

/** 700 kB that neither compress to nothing nor fit into one zstd block. */
function sample(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(700_001);
  let state = 1;
  for (let index = 0; index < bytes.length; index++) {
    state = Math.imul(state, 1103515245) + 12345 >>> 0;
    bytes[index] = index % 3 === 0 ? state >>> 24 : 65;
  }
  return bytes;
}

Deno.test("openLayer() decompresses what the programs write", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "davit-layer-" });
  try {
    const raw = sample();
    const path = `${directory}/raw`;
    await Deno.writeFile(path, raw);
    const half = `${directory}/half`;
    await Deno.writeFile(half, raw.subarray(0, 300_000));
    const rest = `${directory}/rest`;
    await Deno.writeFile(rest, raw.subarray(300_000));
    const compressed = async (...command: [string, ...string[]]) => {
      const { stdout, success } = await new Deno.Command(command[0], { args: command.slice(1) }).output();
      assert.ok(success);
      return stdout;
    };
    const skippable = joined([Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0), latin1("table")]);
    const none = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0);
    const frame = await compressed("zstd", "-qc", half);
    const forms: [string, Uint8Array][] = [
      ["none", raw],
      ["gzip", await compressed("gzip", "-c", path)],
      [
        "pigz, many members",
        joined([await compressed("gzip", "-c", half), await compressed("gzip", "-c", rest)]),
      ],
      ["zstd", await compressed("zstd", "-qc", path)],
      ["zstd without checksums", await compressed("zstd", "-qc", "--no-check", path)],
      ["zstd of unknown size", await compressed("sh", "-c", `zstd -qc19 < ${path}`)],
      [
        "zstd frames and skippable ones",
        joined([skippable, frame, none, skippable, await compressed("zstd", "-qc", rest), skippable]),
      ],
    ];
    for (const [what, bytes] of forms) {
      await t.step(what, async () => {
        await Deno.writeFile(`${directory}/layer`, bytes);
        assert.deepEqual(await readLayer(`${directory}/layer`), raw);
      });
      if (what === "none") continue;
      await t.step(`${what}, cut or with garbage at the end`, async () => {
        // The last skippable frame carries no data, but a cut in it is a cut.
        for (
          const damaged of [bytes.subarray(0, -1), bytes.subarray(0, -9), joined([bytes, latin1("garbage!")])]
        ) {
          await Deno.writeFile(`${directory}/layer`, damaged);
          await assert.rejects(readLayer(`${directory}/layer`), (error: DamagedLayer) => {
            assert.ok(error instanceof DamagedLayer, String(error));
            assert.equal(error.digest, "sha256:test");
            return true;
          });
        }
      });
      await t.step(`${what}, with a changed byte in the middle`, async () => {
        const damaged = bytes.slice();
        damaged[Math.floor(bytes.length / 2)]! ^= 0x55;
        await Deno.writeFile(`${directory}/layer`, damaged);
        const read = await readLayer(`${directory}/layer`).catch((error) => error);
        // Without a checksum zstd cannot notice a changed literal.
        if (what === "zstd without checksums" && read instanceof Uint8Array) assert.notDeepEqual(read, raw);
        else assert.ok(read instanceof DamagedLayer, String(read));
      });
    }
    for (const [program, suffix] of [["xz", "xz"], ["bzip2", "bzip2"]] as const) {
      await t.step(`${program} is refused by name`, async () => {
        await Deno.writeFile(`${directory}/layer`, await compressed(program, "-c", half));
        await assert.rejects(readLayer(`${directory}/layer`), {
          code: "unsupported_compression",
          message: new RegExp(suffix),
        });
      });
    }
    await t.step("an empty layer", async () => {
      await Deno.writeFile(`${directory}/layer`, new Uint8Array(0));
      assert.equal((await readLayer(`${directory}/layer`)).length, 0);
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("openLayer() reads many small zstd frames", async () => {
  const directory = await Deno.makeTempDir({ prefix: "davit-layer-" });
  try {
    await Deno.writeTextFile(`${directory}/one`, "hello ");
    const { stdout } = await new Deno.Command("zstd", { args: ["-qc", `${directory}/one`] }).output();
    await Deno.writeFile(`${directory}/layer`, joined(Array.from({ length: 3000 }, () => stdout)));
    assert.equal((await readLayer(`${directory}/layer`)).length, 18_000);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("openLayer() stops when told and leaves nothing open", async () => {
  const directory = await Deno.makeTempDir({ prefix: "davit-layer-" });
  try {
    const path = `${directory}/zeros`;
    await run("sh", "-c", `head -c 50000000 /dev/zero | gzip -1 > ${path}`);
    const stop = new AbortController();
    let count = 0;
    await assert.rejects(async () => {
      for await (const _ of openLayer({ digest: "sha256:test", path }, { signal: stop.signal })) {
        if (++count === 3) stop.abort(new Error("enough"));
      }
      // All of a small file may have been read before; then it ends.
      throw new Error("enough");
    }, /enough/);
    for await (const _ of openLayer({ digest: "sha256:test", path }, { signal: never })) break;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
