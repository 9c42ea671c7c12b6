import assert from "node:assert/strict";
import { Failure } from "../failure.ts";
import { jobArgv } from "./job_argv.ts";
import { jobEnvironment, MARK } from "./job_env.ts";
import { checkSpec } from "./job_spec.ts";
import { tempDir } from "../../testdata/temp.ts";

function faultsOf(json: unknown): string {
  try {
    checkSpec(json);
  } catch (error) {
    assert.ok(error instanceof Failure && error.code === "bad_spec", String(error));
    return error.message;
  }
  throw new Error("nothing was found wrong");
}

Deno.test("checkSpec() fills in what is left open", () => {
  assert.deepEqual(checkSpec({ argv: ["a", ""] }), {
    hasInput: false,
    program: { argv: ["a", ""] },
    env: Object.create(null),
    cwd: undefined,
    prependPath: [],
    killTimes: { int_ms: 0, term_ms: 7_500, kill_ms: 10_000 },
    backgroundGraceMs: 5_000,
  });
  const { killTimes, backgroundGraceMs } = checkSpec({
    script: "/s",
    stdin: "null",
    kill: { term_ms: 1 },
    background_grace_ms: 0,
  });
  assert.deepEqual([killTimes.term_ms, killTimes.kill_ms, backgroundGraceMs], [1, 10_000, 0]);
});

Deno.test("checkSpec() takes any name and value that execve takes", () => {
  const env = JSON.parse('{"A B":"x\\ny","`id`":"","__proto__":"p","é":"ü","GONE":null}');
  assert.deepEqual(Object.entries(checkSpec({ argv: ["a"], env }).env), Object.entries(env));
  const large = "v".repeat(131_072 - "BIG=".length - 1);
  assert.equal(checkSpec({ argv: ["a"], env: { BIG: large } }).env.BIG, large);
});

Deno.test("checkSpec() names everything that is wrong", async (t) => {
  for (
    const [name, json, faults] of [
      ["no body", undefined, /the body: expected an object.*expected either argv or script/],
      ["a list", [], /the body: expected an object/],
      ["both", { argv: ["a"], script: "/s" }, /^expected either argv or script$/],
      ["no program", { argv: [] }, /^argv: expected a program$/],
      ["an empty program", { argv: [""] }, /^argv: expected a program$/],
      ["numbers", { argv: ["a", 1] }, /^argv\[1\]: expected a text$/],
      ["NUL", { argv: ["a\0"] }, /^argv\[0\]: expected a text without NUL$/],
      ["a relative script", { script: "s.sh" }, /^script: expected an absolute path$/],
      ["a relative directory", { argv: ["a"], cwd: "x" }, /^cwd: expected an absolute path$/],
      ["a name with =", { argv: ["a"], env: { "A=B": "1" } }, /^env "A=B": no name of a variable$/],
      ["an empty name", { argv: ["a"], env: { "": "1" } }, /^env "": no name of a variable$/],
      ["a number", { argv: ["a"], env: { A: 1 } }, /^env A: expected a text$/],
      [
        "a large variable",
        { argv: ["a"], env: { OK: "1", BIG: "v".repeat(131_072) } },
        /^env BIG: 131077 bytes are too large, the kernel takes 131072 in one string$/,
      ],
      ["a large argument", { argv: ["a", "é".repeat(70_000)] }, /^argv\[1\]: 140001 bytes are too large/],
      ["times", { argv: ["a"], kill: { int_ms: -1, kill_ms: "x" } }, /kill\.int_ms: .*; kill\.kill_ms: /],
      ["stdin", { argv: ["a"], stdin: "tty" }, /^stdin: expected "null" or "pipe"$/],
      ["a typing mistake", { argv: ["a"], enviroment: {} }, /^enviroment: there is no such member$/],
      [
        "several",
        { argv: [1], env: [], cwd: 3 },
        /^argv\[0\]: expected a text; env: expected an object; cwd: expected a text$/,
      ],
    ] as [string, unknown, RegExp][]
  ) await t.step(name, () => assert.match(faultsOf(json), faults));
});

Deno.test("jobEnvironment() changes the server's as asked", () => {
  const base = { PATH: "/bin", KEEP: "k", GONE: "g" };
  const of = (env: Record<string, string | null>, prependPath: string[] = []) =>
    jobEnvironment({ env, prependPath }, base, "m");
  assert.deepEqual(of({ A: "1" }), { clearEnv: false, env: { A: "1", [MARK]: "m" } });
  assert.deepEqual(of({ GONE: null, A: "1" }), {
    clearEnv: true,
    env: { PATH: "/bin", KEEP: "k", A: "1", [MARK]: "m" },
  });
  assert.equal(of({ NEVER: null }).clearEnv, false);
  assert.equal(of({}, ["/a b", "/c"]).env.PATH, "/a b:/c:/bin");
  assert.equal(of({ PATH: "/own" }, ["/a"]).env.PATH, "/a:/own");
  assert.match(of({ PATH: null }, ["/a"]).env.PATH!, /^\/a:\/usr\/local\/sbin:.*:\/bin$/);
});

Deno.test("jobArgv() runs a script as the kernel would, or by sh", async () => {
  await using dir = await tempDir("argv");
  const write = async (name: string, text: string, mode: number) => {
    await Deno.writeTextFile(dir.join(name), text, { mode });
    return dir.join(name);
  };
  const env = await write("a", "#!/usr/bin/env  -S perl -w \nx", 0o755);
  assert.deepEqual(jobArgv({ script: env }), { argv: [env], instead: ["/usr/bin/env", "-S perl -w", env] });
  const bare = await write("b", "#! /bin/bash", 0o755);
  assert.deepEqual(jobArgv({ script: bare }), { argv: [bare], instead: ["/bin/bash", bare] });
  for (
    const [name, text, mode] of [["c", "#!/bin/bash\n", 0o644], ["d", "echo", 0o755], [
      "e",
      "",
      0o755,
    ]] as const
  ) {
    const script = await write(name, text, mode);
    assert.deepEqual(jobArgv({ script }), { argv: ["sh", "-e", script] });
  }
  assert.deepEqual(jobArgv({ script: "/none" }), { argv: ["sh", "-e", "/none"] });
  assert.deepEqual(jobArgv({ argv: ["x", "*"] }), { argv: ["x", "*"] });
});
