import assert from "node:assert/strict";
import { needs } from "../testdata/needs.ts";
import { layoutOf, TRAILER_BYTES } from "../testdata/portable_layout.ts";
import { must } from "../testdata/real_registry.ts";
import { run } from "../testdata/run.ts";
import { type TempDir, tempDir } from "../testdata/temp.ts";
import { pack, type Part, sha256Hex } from "./pack.ts";

const zstdNeeds = needs({ programs: ["zstd"] });
const CONTENTS = {
  "davit": "loader",
  "main.js": "console.log(1);\n".repeat(10_000),
  "empty": "",
  "libx.so.1": "x",
};

async function makeParts(dir: TempDir): Promise<{ launcher: string; parts: Part[] }> {
  const launcher = dir.join("launcher");
  await Deno.writeTextFile(launcher, "#!/bin/sh\nexit 0\n");
  const parts: Part[] = [];
  for (const [name, text] of Object.entries(CONTENTS)) {
    await Deno.writeTextFile(dir.join(`of-${name}`), text);
    parts.push({ name, path: dir.join(`of-${name}`), use: name === "davit" ? "b" : "r" });
  }
  return { launcher, parts };
}

Deno.test({
  name: "pack() writes launcher, frames, index and trailer, each where the index says",
  ...zstdNeeds,
  async fn() {
    await using dir = await tempDir("pack");
    const { launcher, parts } = await makeParts(dir);
    const output = dir.join("packed");
    const packed = await pack(launcher, parts, { output, level: 19, workDir: dir.path });

    const bytes = await Deno.readFile(output);
    const layout = layoutOf(bytes);
    assert.equal(layout.launcher.size, (await Deno.stat(launcher)).size);
    assert.deepEqual(bytes.subarray(0, layout.launcher.size), await Deno.readFile(launcher));
    assert.deepEqual(layout.parts.map(({ name }) => name), Object.keys(CONTENTS));
    assert.equal(layout.index.offset + layout.index.size + TRAILER_BYTES, bytes.length);

    const index = new TextDecoder().decode(bytes.subarray(layout.index.offset, -TRAILER_BYTES));
    for (const [number, { name, offset, packed: size, raw }] of layout.parts.entries()) {
      const frame = bytes.slice(offset, offset + size);
      assert.equal(packed[number]!.sha256, await sha256Hex(frame));
      assert.ok(index.includes(`${packed[number]!.sha256} ${name}\n`));
      await Deno.writeFile(dir.join("frame.zst"), frame);
      assert.equal(
        await must(["zstd", "-dc", dir.join("frame.zst")]),
        CONTENTS[name as keyof typeof CONTENTS],
      );
      assert.equal(raw, CONTENTS[name as keyof typeof CONTENTS].length);
      assert.match(await must(["zstd", "-lv", dir.join("frame.zst")]), /Check: XXH64/);
    }
    assert.equal((await Deno.stat(output)).mode! & 0o777, 0o755);
  },
});

Deno.test({
  name: "pack() makes equal bytes of equal parts, over whatever was there",
  ...zstdNeeds,
  async fn() {
    await using dir = await tempDir("pack");
    const { launcher, parts } = await makeParts(dir);
    const [first, second] = [dir.join("first"), dir.join("second")];
    await pack(launcher, parts, { output: first, level: 3, workDir: dir.path });
    await Deno.writeFile(second, new Uint8Array(1 << 20), { mode: 0o600 });
    for (const { path } of parts) await Deno.utime(path, 1, 1);
    await pack(launcher, parts, { output: second, level: 3, workDir: dir.path });
    assert.deepEqual(await Deno.readFile(first), await Deno.readFile(second));
    assert.equal((await Deno.stat(second)).mode! & 0o777, 0o755);
  },
});

Deno.test({
  name: "pack() says which part is not there",
  ...zstdNeeds,
  async fn() {
    await using dir = await tempDir("pack");
    const { launcher, parts } = await makeParts(dir);
    await Deno.remove(parts[2]!.path);
    await assert.rejects(
      pack(launcher, parts, { output: dir.join("packed"), level: 3, workDir: dir.path }),
      /Cannot pack ".*of-empty": .*No such file/,
    );
  },
});

Deno.test({
  name: "pack() says when the disk is full",
  ...needs({ root: true, programs: ["zstd", "unshare"] }),
  async fn() {
    await using dir = await tempDir("pack");
    const { launcher, parts } = await makeParts(dir);
    await Deno.writeFile(parts[1]!.path, crypto.getRandomValues(new Uint8Array(60_000)));
    await Deno.writeTextFile(
      dir.join("program.ts"),
      `import { pack } from ${JSON.stringify(new URL("pack.ts", import.meta.url).href)};
       const [launcher, parts, workDir] = JSON.parse(Deno.args[0]);
       await pack(launcher, parts, { output: workDir + "/packed", level: 3, workDir });`,
    );
    await Deno.mkdir(dir.join("small"));
    const script = 'mount -t tmpfs -o size=32k none "$0" && exec "$@"';
    const program = [Deno.execPath(), "run", "-A", dir.join("program.ts")];
    const task = JSON.stringify([launcher, parts, dir.join("small")]);
    const line = ["unshare", "--mount", "sh", "-c", script, dir.join("small"), ...program, task];
    const { code, stderr } = await run(line, { env: { NO_COLOR: "1" } });
    assert.equal(code, 1);
    assert.match(stderr, /Cannot pack ".*of-main\.js": .*No space left on device/);
  },
});
