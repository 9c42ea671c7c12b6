import assert from "node:assert/strict";
import { untilEnded } from "../testdata/alive.ts";
import { run, type RunResult, start } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";

const RUNNER = decodeURIComponent(new URL("./test.ts", import.meta.url).pathname);
const TESTDATA = new URL("../testdata/", import.meta.url);
const IMPORTS = `import { needs } from "${TESTDATA}needs.ts";\nimport { start } from "${TESTDATA}run.ts";\n`;

const NEEDS = `${IMPORTS}
const moon = needs({ kernel: [{ name: "a moon", works: () => false }] });
Deno.test("stays here", () => {});
Deno.test({
  ...moon,
  name: "flies",
  fn() {},
});
Deno.test("goes by step", async (t) => {
  await t.step({ ...moon, name: "walks", fn() {} });
});
`;
const PROGRAM = `${IMPORTS}
Deno.test({ ...needs({ programs: ["no-such-program"] }), name: "runs it", fn() {} });
`;
const HANG = `${IMPORTS}
Deno.test("hangs", async () => {
  const child = start(["sleep", "1234"]);
  Deno.writeTextFileSync(Deno.env.get("PID_FILE") ?? "", String(child.pid));
  await child.done;
});
`;

interface Case {
  name: string;
  files: Record<string, string>;
  flags?: string[];
  ci?: boolean;
  code: number;
  last: string;
  printed?: RegExp;
}

const CASES: Case[] = [
  {
    name: "counts passed, failed and ignored tests",
    files: {
      "a_test.ts": `Deno.test("a <&> \\"b\\"", async (t) => { await t.step("s", () => {}); });
        Deno.test("bad", () => { throw new Error("no"); });
        Deno.test({ name: "later", ignore: true, fn() {} });`,
      "b_long_test.ts": `throw new Error("this is not loaded");`,
    },
    code: 1,
    last: "1 passed, 1 failed, 1 skipped",
    printed: /^ {2}\S+a_test.ts:3 later: no reason given$/m,
  },
  {
    name: "takes only long tests with --long",
    files: {
      "a_test.ts": `throw new Error("this is not loaded");`,
      "b_long_test.ts": `Deno.test("b", () => {});`,
    },
    flags: ["--long"],
    code: 0,
    last: "1 passed, 0 failed, 0 skipped",
  },
  {
    name: "passes other flags on, and leaves out of the count what they leave out",
    files: { "a_test.ts": `Deno.test("red one", () => {}); Deno.test("blue one", () => {});` },
    flags: ["--filter", "blue one"],
    code: 0,
    last: "1 passed, 0 failed, 0 skipped",
  },
  {
    name: "lists what the kernel lacks, by name, and passes with CI=true",
    files: { "a_test.ts": NEEDS },
    ci: true,
    code: 0,
    last: "2 passed, 0 failed, 2 skipped",
    printed: /a_test.ts:6 flies: needs a moon\n.*a_test.ts:12 goes by step > walks: needs a moon\n/,
  },
  {
    name: "skips what lacks a program without CI",
    files: { "a_test.ts": PROGRAM + `Deno.test("other", () => {});` },
    code: 0,
    last: "1 passed, 0 failed, 1 skipped",
    printed: /a_test.ts:4 runs it: needs no-such-program\n/,
  },
  {
    name: "fails for a missing program with CI=true",
    files: { "a_test.ts": PROGRAM },
    ci: true,
    code: 1,
    last: "0 passed, 1 failed, 1 skipped",
    printed: /the machine is incomplete: this test needs no-such-program/,
  },
  {
    name: "fails for a bare ignore with CI=true",
    files: { "a_test.ts": `Deno.test.ignore("x", () => {}); Deno.test("y", () => {});` },
    ci: true,
    code: 1,
    last: "1 passed, 1 failed, 0 skipped",
  },
  {
    name: "fails when a module throws outside its tests",
    files: { "a_test.ts": `Deno.test("x", () => {});`, "b_test.ts": `throw new Error("loading");` },
    code: 1,
    last: "1 passed, 1 failed, 0 skipped",
  },
  {
    name: "fails when a module does not compile",
    files: { "a_test.ts": `Deno.test("x", () => {}); const x: number = "";` },
    flags: ["--check"],
    code: 1,
    last: "0 passed, 1 failed, 0 skipped",
  },
  {
    name: "fails when there is no test",
    files: { "a.ts": "" },
    code: 1,
    last: "0 passed, 1 failed, 0 skipped",
    printed: /^no test was run$/m,
  },
];

for (const { name, files, flags = [], ci = false, code, last, printed } of CASES) {
  Deno.test(`scripts/test.ts ${name}`, async () => {
    await using dir = await tempDir("runner");
    for (const [file, text] of Object.entries(files)) await Deno.writeTextFile(dir.join(file), text);
    // Half of a run's time is the type check, and no case but its own is about it.
    const check = flags.includes("--check") ? [] : ["--no-check"];
    const result = await run(argv(dir.path, ...check, ...flags), { env: environment(ci) });
    assert.deepEqual([result.code, lastLine(result)], [code, last], result.stdout + result.stderr);
    if (printed) assert.match(result.stdout, printed);
  });
}

for (
  const { name, flags, signal, code, printed } of [
    { name: "its deadline", flags: ["--deadline=4s"], code: 1, printed: /still ran after 4.0 s/ },
    { name: "SIGINT", signal: "SIGINT", code: 130, printed: /ended what the tests left running: \d+ sleep/ },
    {
      name: "SIGTERM",
      signal: "SIGTERM",
      code: 143,
      printed: /ended what the tests left running: \d+ sleep/,
    },
  ] as { name: string; flags?: string[]; signal?: Deno.Signal; code: number; printed: RegExp }[]
) {
  Deno.test(`scripts/test.ts ends everything at ${name}`, async () => {
    await using dir = await tempDir("runner");
    const pidFile = dir.join("pid");
    await Deno.writeTextFile(dir.join("a_test.ts"), HANG);
    const env = { ...environment(false), PID_FILE: pidFile };
    await using runner = start(argv(dir.path, "--no-check", ...flags ?? []), { env });
    if (signal) {
      await runner.waitFor(/hangs \.\.\./, 30_000);
      while (!await exists(pidFile)) await new Promise((resolve) => setTimeout(resolve, 20));
      runner.kill(signal);
    }
    const result = await runner.done;
    assert.deepEqual([result.code, lastLine(result)], [code, "0 passed, 1 failed, 0 skipped"], result.stderr);
    assert.match(result.stderr, printed);
    if (await exists(pidFile)) await untilEnded(Number(await Deno.readTextFile(pidFile)));
  });
}

function argv(...args: string[]): string[] {
  return [Deno.execPath(), "run", "-A", "--quiet", RUNNER, ...args];
}

function environment(ci: boolean): Record<string, string | undefined> {
  return { CI: ci ? "true" : undefined, DENO_JOBS: undefined, NO_COLOR: "1" };
}

function lastLine({ stdout }: RunResult): string | undefined {
  return stdout.trimEnd().split("\n").at(-1);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

Deno.test("scripts/test.ts runs files in two processes, shows what each printed, and adds up", async () => {
  await using dir = await tempDir("runner");
  await Deno.mkdir(dir.join("lib", "container"), { recursive: true });
  const waits = (file: string, other: string) =>
    `${IMPORTS}
    Deno.test("meets the other", async () => {
      Deno.writeTextFileSync("${dir.path}/${file}", "");
      while (!(await Deno.stat("${dir.path}/${other}").then(() => true, () => false))) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      console.log("${file} met ${other}");
    });
    Deno.test({ ...needs({ kernel: [{ name: "a moon", works: () => false }] }), name: "flies", fn() {} });`;
  await Deno.writeTextFile(dir.join("lib", "container", "a_test.ts"), waits("one", "two"));
  await Deno.writeTextFile(
    dir.join("b_test.ts"),
    `${waits("two", "one")}\nDeno.test("bad", () => { throw new Error("no"); });`,
  );
  const env = { ...environment(true), DENO_JOBS: "2" };
  const result = await run(argv(dir.path, "--no-check"), { env });
  assert.deepEqual([result.code, lastLine(result)], [1, "2 passed, 1 failed, 2 skipped"], result.stdout);
  for (const line of [/^one met two$/m, /^two met one$/m]) assert.match(result.stdout, line);
});
