import assert from "node:assert/strict";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { VERSION } from "../version.ts";
import { type EnvironmentAccess, giveBackKept } from "./kept_environment.ts";
import { adoptLaunch, bundledTool, selfFacts, selfStart } from "./self.ts";

/** What Deno.env does, over a Map. */
function environmentOf(
  entries: Record<string, string>,
): EnvironmentAccess & { readonly all: Map<string, string> } {
  const all = new Map(Object.entries(entries));
  return {
    all,
    get: (name) => all.get(name),
    set: (name, value) => void all.set(name, value),
    delete: (name) => void all.delete(name),
    toObject: () => Object.fromEntries(all),
  };
}

Deno.test("adoptLaunch() leaves a message alone that no launcher wrote", () => {
  const kept = { DAVIT_KEPT_LD_PRELOAD: "/x.so", DENO_DIR: "/d" };
  const cases: Record<string, [message: string, main: string]> = {
    "of another directory": ["/cache/0123\n/opt/davit", "file:///work/main.ts"],
    "of a directory above": ["/work\n/opt/davit", "file:///work/deep/main.js"],
    "of memory": ["\n/opt/davit", "file:///work/main.js"],
    "without a file": ["/work", "file:///work/main.js"],
    "empty": ["", "file:///work/main.js"],
    "from the network": ["/work\n/opt/davit", "https://127.0.0.1/x/work/main.js"],
  };
  for (const [name, [message, main]] of Object.entries(cases)) {
    const entries = { ...kept, DAVIT_LAUNCHED: message };
    const environment = environmentOf(entries);
    adoptLaunch(environment, main);
    assert.deepEqual(Object.fromEntries(environment.all), entries, name);
    assert.equal(selfFacts().mode, "source", name);
  }
});

Deno.test("giveBackKept() gives each variable its name back, also where names meet", () => {
  const environment = environmentOf({
    DAVIT_KEPT_LD_PRELOAD: "/x.so",
    DAVIT_KEPT_DAVIT_KEPT_LD_PRELOAD: "mine",
    DAVIT_KEPT_DAVIT_LAUNCHED: "mine too",
    DAVIT_KEPT_DENO_DIR: "",
    DAVIT_CACHE: "/cache",
    PATH: "/bin",
  });
  giveBackKept(environment, { environ: "/dev/null" });
  assert.deepEqual(Object.fromEntries(environment.all), {
    LD_PRELOAD: "/x.so",
    DAVIT_KEPT_LD_PRELOAD: "mine",
    DAVIT_LAUNCHED: "mine too",
    DENO_DIR: "",
    DAVIT_CACHE: "/cache",
    PATH: "/bin",
  });
});

Deno.test("giveBackKept() gives back what is not UTF-8 to the programs that are started", async () => {
  await using dir = await tempDir("kept");
  const given =
    "A=1\0DAVIT_KEPT_TEST_KEPT_A=\xff\xfe\0DAVIT_KEPT_TEST_KEPT_B=good\0DAVIT_KEPT_TEST_KEPT_\xc3=x=y\0" +
    "DAVIT_KEPT_TEST_KEPT_BARE\0DAVIT_KEPT_TEST_KEPT_C=\xe9 cut off";
  await Deno.writeFile(dir.join("environ"), Uint8Array.from(given, (char) => char.charCodeAt(0)));
  giveBackKept(environmentOf({}), { environ: dir.join("environ") });
  try {
    const { stdout } = await new Deno.Command("env", { args: ["-0"] }).output();
    const entries = String.fromCharCode(...stdout).split("\0").filter((entry) => entry.includes("TEST_KEPT_"))
      .sort();
    // The good one is for Deno's own environment, which this test did not hand in.
    assert.deepEqual(entries, ["TEST_KEPT_A=\xff\xfe", "TEST_KEPT_C=\xe9 cut off", "TEST_KEPT_\xc3=x=y"]);
  } finally {
    const libc = Deno.dlopen("libc.so.6", { unsetenv: { parameters: ["buffer"], result: "i32" } });
    for (const name of ["TEST_KEPT_A\0", "TEST_KEPT_C\0", "TEST_KEPT_\xc3\0"]) {
      libc.symbols.unsetenv(Uint8Array.from(name, (char) => char.charCodeAt(0)));
    }
    libc.close();
  }
});

Deno.test("selfStart() from source starts davit, from any directory", async () => {
  await using dir = await tempDir("self");
  const main = new URL("../../main.ts", import.meta.url);
  await Deno.writeTextFile(
    dir.join("again.ts"),
    `import { selfStart } from ${JSON.stringify(new URL("self.ts", import.meta.url).href)};
     console.log(JSON.stringify(selfStart()));`,
  );
  const { stdout } = await run([Deno.execPath(), "run", "-A", dir.join("again.ts")]);
  const { argv, env } = JSON.parse(stdout) as { argv: string[]; env: Record<string, string> };
  // It starts the module that was started: here that is the test's, in davit it is main.ts.
  assert.equal(argv.at(-1), dir.join("again.ts"));
  assert.deepEqual(env, {});
  const davit = [...argv.slice(0, -1), decodeURIComponent(main.pathname), "--version"];
  assert.equal((await run(davit, { cwd: "/" })).stdout, `davit ${VERSION}\n`);
  assert.equal(selfStart().argv[0], Deno.execPath());
});

Deno.test("bundledTool() has none where nothing is packed", () => {
  assert.equal(bundledTool("sqfstar"), undefined);
  assert.equal(bundledTool("../sqfstar"), undefined);
});
