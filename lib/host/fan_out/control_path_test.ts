import assert from "node:assert/strict";
import { tempDir } from "../../../testdata/temp.ts";
import { silent } from "../log.ts";
import { controlPath } from "./control_path.ts";

Deno.test("sockets lie in a private directory, apart for other options", async (t) => {
  // As short as a real XDG_RUNTIME_DIR.
  const short = await Deno.makeTempDir({ dir: "/tmp", prefix: "dvt" });
  const env = { XDG_RUNTIME_DIR: short };
  const path = (key = "a") => controlPath({ env, key, log: silent });
  try {
    await t.step("made 0700", async () => {
      assert.match(path()!, new RegExp(`^${short}/davit-ssh/[0-9a-f]{8}-%C$`));
      assert.equal((await Deno.stat(`${short}/davit-ssh`)).mode! & 0o777, 0o700);
    });
    await t.step("the same for the same", () => {
      assert.equal(path(), path());
      assert.notEqual(path("a"), path("b"));
    });
    await t.step("not where others can go", async () => {
      await Deno.chmod(`${short}/davit-ssh`, 0o750);
      assert.doesNotMatch(String(path()), new RegExp(short));
      await Deno.remove(`${short}/davit-ssh`);
      await Deno.mkdir(`${short}/elsewhere`, { mode: 0o700 });
      await Deno.symlink(`${short}/elsewhere`, `${short}/davit-ssh`);
      assert.doesNotMatch(String(path()), new RegExp(short));
    });
    await t.step("not where a socket's path would be too long", async () => {
      await using long = await tempDir("x".repeat(60));
      const found = controlPath({ env: { XDG_RUNTIME_DIR: long.path }, key: "a", log: silent });
      assert.doesNotMatch(String(found), new RegExp(long.path));
    });
  } finally {
    await Deno.remove(short, { recursive: true });
  }
});
