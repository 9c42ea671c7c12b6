import assert from "node:assert/strict";
import { discard, spawnWithoutInput, unread } from "./no_input.ts";

Deno.test("spawnWithoutInput() starts a child whose input is at its end", async () => {
  const child = spawnWithoutInput("sh", {
    args: ["-c", "cat; echo done; readlink /proc/$$/fd/0"],
    stdout: "piped",
  });
  const said = new TextDecoder().decode((await child.output()).stdout);
  assert.match(said, /^done\npipe:/, "not /dev/null, which may be missing");
});

Deno.test("spawnWithoutInput() does not mind a child that ends at once", async () => {
  for (let round = 0; round < 20; round++) {
    assert.equal((await spawnWithoutInput("true", { stdout: unread() }).status).code, 0);
  }
});

Deno.test("discard() reads what would fill a pipe, so that the child ends", async () => {
  const child = spawnWithoutInput("head", { args: ["-c", "1000000", "/dev/zero"], stdout: "piped" });
  await discard(child.stdout);
  assert.equal((await child.status).code, 0);
});
