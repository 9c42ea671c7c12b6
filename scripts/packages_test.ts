import assert from "node:assert/strict";
import { run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { isPresent, PACKAGES } from "./packages.ts";

const MODULE = new URL("./packages.ts", import.meta.url).href;

/** Calls ensurePackages() in a process of its own, since it may exit, with an apt-get that the case writes. */
async function ensure(group: "demo" | "test", { isRoot = true, apt }: { isRoot?: boolean; apt?: string }) {
  await using dir = await tempDir("packages");
  const aptGet = dir.join("apt-get");
  if (apt !== undefined) {
    await Deno.writeTextFile(aptGet, `#!/bin/sh\ncd ${dir.path}\n${apt}\n`, { mode: 0o755 });
  }
  const packages = [
    { name: "coreutils", programs: ["sh"], group: "demo" },
    { name: "one", programs: [dir.join("one")], group: "demo" },
    { name: "two", programs: [dir.join("two")], group: "test" },
  ];
  const program = `import { ensurePackages } from "${MODULE}";
    await ensurePackages("${group}", ${
    JSON.stringify({ packages, aptGet, isRoot })
  }); console.log("went on");`;
  const result = await run([Deno.execPath(), "run", "-A", "--quiet", "-"], { stdin: program });
  return { ...result, calls: await Deno.readTextFile(dir.join("calls")).catch(() => "") };
}

const INSTALLS = `echo "$@" >>calls; case "$*" in *install*) cp /bin/sh one; cp /bin/sh two;; esac`;

Deno.test("ensurePackages() names the command where we are not root, and ends only the demo", async (t) => {
  for (const [group, code, names] of [["demo", 69, "one"], ["test", 0, "one two"]] as const) {
    await t.step(group, async () => {
      const result = await ensure(group, { isRoot: false, apt: INSTALLS });
      const line =
        `davit: Debian packages are missing; install them with: sudo apt-get install -y ${names}\n`;
      assert.deepEqual([result.code, result.stderr, result.calls], [code, line, ""]);
      assert.equal(result.stdout, code === 0 ? "went on\n" : "");
    });
  }
});

Deno.test("ensurePackages() does the same where there is no apt-get", async () => {
  const result = await ensure("demo", {});
  assert.equal(result.code, 69);
  assert.match(result.stderr, /^davit: .*apt-get install -y one\n$/);
});

Deno.test("ensurePackages() installs exactly what its group lacks", async () => {
  const result = await ensure("demo", { apt: INSTALLS });
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.calls, /install -y --no-install-recommends one\n$/);
});

Deno.test("ensurePackages() updates stale lists and tries once more", async () => {
  const result = await ensure("test", {
    apt:
      `echo "$@" >>calls; case "$*" in *update*) touch fresh;; *) test -e fresh || exit 100; cp /bin/sh one; cp /bin/sh two;; esac`,
  });
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.calls, /update\n.*install .*one two\n$/);
});

Deno.test("ensurePackages() shows apt's last lines when it fails", async () => {
  const result = await ensure("test", {
    apt: `seq 100; echo "E: Unable to locate package one" >&2; exit 100`,
  });
  assert.equal(result.code, 69);
  assert.match(
    result.stderr,
    /Cannot install one two: .*status 100.*\n {2}87\n(.*\n)*.*E: Unable to locate package one\n$/,
  );
  assert.doesNotMatch(result.stderr, /^ {2}86$/m);
});

Deno.test("ensurePackages() says when a package did not bring its program", async () => {
  const result = await ensure("demo", { apt: "exit 0" });
  assert.deepEqual([result.code, result.stdout], [69, ""]);
  assert.match(result.stderr, /Cannot use one: apt-get installed it, but its programs are not there\n$/);
});

Deno.test("isPresent() tells a static program from a dynamic one", async () => {
  await using dir = await tempDir("packages");
  await Deno.writeFile(dir.join("text"), new TextEncoder().encode("#!/bin/sh\n"), { mode: 0o755 });
  const item = { name: "x", group: "test", linkedStatically: true } as const;
  // Deno itself needs the loader on every machine that these tests know.
  assert.equal(isPresent({ ...item, programs: [Deno.execPath()] }), false);
  assert.equal(isPresent({ ...item, programs: [dir.join("text")] }), false);
  const busybox = PACKAGES.find(({ name }) => name === "busybox-static")!;
  assert.equal(
    isPresent(busybox),
    await run(["ldd", "/bin/busybox"]).then(({ code }) => code !== 0, () => false),
  );
});
