import assert from "node:assert/strict";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { Failure } from "../failure.ts";
import { silent } from "../host/log.ts";
import { checkResultFile, writeResultFile } from "./result_file.ts";

Deno.test("writeResultFile() puts a whole file in the place of whatever was there", async () => {
  await using dir = await tempDir("result");
  const path = dir.join("r.json");
  await Deno.writeTextFile(path, "old");
  await checkResultFile(path);
  await assert.rejects(Deno.stat(path), Deno.errors.NotFound); // an old result is no result
  await writeResultFile(path, { code: 3, text: "é" }, silent);
  assert.deepEqual(JSON.parse(await Deno.readTextFile(path)), { code: 3, text: "é" });
  const names = (await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name);
  assert.deepEqual(names, ["r.json"]);
});

Deno.test("checkResultFile() refuses what could not be written later", async (t) => {
  await using dir = await tempDir("result");
  await Deno.mkdir(dir.join("d"));
  for (const path of ["/proc/none/r.json", dir.join("missing/r.json"), dir.join("d")]) {
    await t.step(path.replace(dir.path, ""), async () => {
      await assert.rejects(
        checkResultFile(path),
        (error) => error instanceof Failure && error.message.includes(path),
      );
    });
  }
});

Deno.test({
  name: "writeResultFile() on a full disk says so and leaves nothing",
  ...needs({ root: true, kernel: [privateMounts] }),
  async fn() {
    await using dir = await tempDir("result");
    const module = new URL("./result_file.ts", import.meta.url).href;
    await Deno.writeTextFile(
      dir.join("write.ts"),
      `import { writeResultFile } from "${module}";
       const log = { error() {}, warn() {}, info() {}, debug() {} };
       await writeResultFile("${
        dir.join("full/r.json")
      }", { text: "x".repeat(200_000) }, log).catch((error) =>
         console.log(error.code, error.exitStatus, error.hint, [...Deno.readDirSync("${
        dir.join("full")
      }")].length)
       );`,
    );
    await Deno.mkdir(dir.join("full"));
    const script =
      'mount -t tmpfs -o size=64k tmpfs "$0/full" && exec "$1" run -A --no-prompt --quiet "$0/write.ts"';
    const argv = ["unshare", "--mount", "sh", "-c", script, dir.path, Deno.execPath()];
    const { stdout, stderr } = await run(argv);
    assert.equal(
      stdout,
      `no_space 74 free space in "${dir.join("full")}" or give another --result 0\n`,
      stderr,
    );
  },
});
