import assert from "node:assert/strict";
import { passEnvironment } from "./environment.ts";

const fileOf = (flags: readonly string[]) => flags.find((flag) => flag.startsWith("--env-file="))?.slice(11);

Deno.test("passEnvironment() keeps values out of argv, whatever is in them", async () => {
  const secret = `it's "secret" $(x)\n${"y".repeat(100_000)}`;
  await using passed = await passEnvironment({ TOKEN: secret, PLAIN: "a" }, { isSudo: false });
  assert.deepEqual(passed.flags, ["--env=TOKEN", "--env=PLAIN"]);
  assert.deepEqual(passed.env, { TOKEN: secret, PLAIN: "a" });
});

Deno.test("passEnvironment() does not let a variable of the container change the CLI", async () => {
  const names = [
    "PATH",
    "HOME",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "DOCKER_HOST",
    "HTTPS_PROXY",
    "no_proxy",
    "LC_ALL",
  ];
  const variables = Object.fromEntries(names.map((name) => [name, `/value/of/${name}`]));
  const passed = await passEnvironment({ ...variables, XDG_RUNTIME_DIR: "with 'quotes'" }, { isSudo: false });
  const file = fileOf(passed.flags)!;
  assert.deepEqual(passed.env, {});
  assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
  assert.equal(await Deno.readTextFile(file), names.map((name) => `${name}=/value/of/${name}\n`).join(""));
  // What the file's format may not carry has to go by argv.
  assert.deepEqual(passed.flags.slice(1), ["--env=XDG_RUNTIME_DIR=with 'quotes'"]);
  await passed[Symbol.asyncDispose]();
  await assert.rejects(Deno.stat(file), Deno.errors.NotFound);
});

Deno.test("passEnvironment() uses the file where sudo would drop the CLI's environment", async () => {
  await using passed = await passEnvironment({ TOKEN: "secret", LINES: "a\nb" }, { isSudo: true });
  assert.deepEqual(passed.env, {});
  assert.equal(await Deno.readTextFile(fileOf(passed.flags)!), "TOKEN=secret\n");
  assert.deepEqual(passed.flags.slice(1), ["--env=LINES=a\nb"]);
});
