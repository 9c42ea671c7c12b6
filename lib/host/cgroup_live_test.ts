import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { v1Cgroup, v1Controllers } from "../../testdata/v1_cgroup.ts";
import { locateCgroup } from "./cgroup.ts";

/** Prints what a process finds of itself; without single quotes, as a shell will hold it in them. */
const SCRIPT = `const { locateCgroup } = await import("${new URL("./cgroup.ts", import.meta.url).href}");
  console.log(JSON.stringify(locateCgroup()))`;

Deno.test("locateCgroup() finds this process here", () => {
  const location = locateCgroup();
  assert.ok(location.isVerified, JSON.stringify(location));
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory", "pids")] }),
  name: "locateCgroup() finds a process in a real v1 cgroup",
  async fn() {
    await using cgroup = await v1Cgroup(["memory", "pids"]);
    const { stdout, stderr } = await run([
      "sh",
      "-c",
      `${cgroup.enter}; exec "$0" eval '${SCRIPT}'`,
      Deno.execPath(),
    ]);
    assert.notEqual(stdout, "", stderr);
    const { path, isVerified, dirs } = JSON.parse(stdout);
    assert.equal(path, cgroup.path);
    assert.equal(isVerified, true);
    assert.equal(dirs.memory.path, cgroup.dir("memory"));
    assert.equal(dirs.pids.path, cgroup.dir("pids"));
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare"], kernel: [v1Controllers("memory")] }),
  name: "locateCgroup() finds a process in a real cgroup namespace",
  async fn() {
    await using cgroup = await v1Cgroup(["memory"]);
    const inside = `mount -t cgroup -o memory none /mnt && exec "$0" eval '${SCRIPT}'`;
    const { stdout, stderr } = await run([
      "sh",
      "-c",
      `${cgroup.enter}; exec unshare --cgroup --mount sh -c '${inside.replaceAll("'", `'\\''`)}' "$0"`,
      Deno.execPath(),
    ]);
    assert.notEqual(stdout, "", stderr);
    const { isNamespaced, areAncestorsVisible, path, dirs } = JSON.parse(stdout);
    assert.deepEqual({ isNamespaced, areAncestorsVisible, path }, {
      isNamespaced: true,
      areAncestorsVisible: false,
      path: "/",
    });
    // The new mount begins at the namespace's root; the inherited one leads out of it.
    assert.equal(dirs.memory.path, "/mnt");
    assert.equal(dirs.memory.isRoot, false);
  },
});
