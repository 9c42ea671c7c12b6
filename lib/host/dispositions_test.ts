import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { ignoredSignals, whileIgnoring } from "./dispositions.ts";

Deno.test("ignoredSignals() reads the mask, leaves SIGPIPE out, and knows nothing without /proc", async () => {
  await using dir = await tempDir("ignored");
  await Deno.mkdir(dir.join("self"));
  const put = (mask: string) =>
    Deno.writeTextFile(dir.join("self", "status"), `Name:\tx\nSigIgn:\t${mask}\n`);
  const read = () => [...ignoredSignals({ proc: dir.path })];
  await put("0000000000001001");
  assert.deepEqual(read(), [1], "13 is SIGPIPE, which Deno ignores for itself");
  await put("fffffffe7ffbfeff");
  assert.ok(read().includes(2) && read().includes(31) && !read().includes(9) && !read().includes(19));
  await put("garbage");
  assert.deepEqual(read(), []);
  await Deno.remove(dir.join("self", "status"));
  assert.deepEqual(read(), []);
  assert.ok(ignoredSignals() instanceof Set);
});

Deno.test("whileIgnoring() reaches children started meanwhile, none started later, and what it throws", async () => {
  const shell = () =>
    new Deno.Command("sh", { args: ["-c", "kill -USR1 $$; exit 7"], stdin: "null" }).spawn();
  const [during, after] = [whileIgnoring(new Set([10]), shell), shell()];
  assert.equal((await during.status).code, 7);
  assert.equal((await after.status).signal, "SIGUSR1");
  assert.throws(() =>
    whileIgnoring(new Set([10]), () => {
      throw new Error("inside");
    }), /inside/);
  assert.equal((await shell().status).signal, "SIGUSR1");
  assert.equal((await run(["sh", "-c", "kill -HUP $$"])).signal, "SIGHUP");
});
