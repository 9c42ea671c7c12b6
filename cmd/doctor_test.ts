import assert from "node:assert/strict";
import { davit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import type { Report } from "../lib/host/doctor/check.ts";

const NAMES = [
  ...["flock", "squashfs-tools", "enroot", "docker", "podman", "slurm", "kmsg", "psi", "cgroup"],
  ...["rpc-dir", "disk", "clock", "gpu"],
];

Deno.test("davit doctor: one report for people and for scripts, nothing left behind", async () => {
  await using dir = await tempDir("doctor");
  const json = await davit(["doctor", "--dir", dir.path, "--json"], { env: { PATH: "/nonexistent" } });
  assert.equal(json.code, 0, json.stderr);
  assert.equal(json.stderr, "");
  const { schema, checks, state } = JSON.parse(json.stdout) as Report;
  assert.equal(schema, 1);
  assert.equal(state, "missing", "there are no programs in /nonexistent");
  assert.deepEqual([...new Set(checks.map(({ name }) => name))], NAMES);
  for (const check of checks) {
    assert.ok(["ok", "degraded", "missing"].includes(check.state));
    assert.ok(check.detail.length > 0);
    assert.equal(check.cost === undefined, check.state === "ok", JSON.stringify(check));
  }

  const text = await davit(["doctor", "--dir", dir.path], { env: { PATH: "/nonexistent" } });
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^missing {3}squashfs-tools +sqfstar is not on PATH/m);
  assert.match(text.stdout, /^ {12}cost: `davit image import` cannot make an image\n {12}mend: install/m);
  assert.match(text.stdout, /\n\d+ ok, \d+ degraded, \d+ missing\n$/);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.path)), []);
});

Deno.test("davit doctor: the directory is the working one, or the one named, however odd", async () => {
  await using dir = await tempDir("doctor");
  const odd = dir.join("--a\u001b[31m b");
  await Deno.mkdir(odd);
  const here = await davit(["doctor", "--json"], { cwd: dir.path });
  assert.equal(JSON.parse(here.stdout).checks[0].place, dir.path);
  const named = await davit(["doctor", `--dir=${odd}`]);
  assert.equal(named.code, 0, named.stderr);
  assert.match(named.stdout, /flock .*--a\\u001b\[31m b +taken once/);
  assert.ok(!named.stdout.includes("\u001b"));
  const wrong = await davit(["doctor", "somewhere"]);
  assert.equal(wrong.code, 64);
});

Deno.test("davit doctor: its help tells every line and what the exit status means", async (t) => {
  const { code, stdout, stderr } = await davit(["doctor", "--help"]);
  assert.equal(code, 0, stderr);
  for (const name of NAMES) assert.match(stdout, new RegExp(`^  (?:\\w+, )?${name}\\b`, "m"));
  assert.match(stdout, /Examples:\n.*Exit status/s);
  assert.doesNotMatch(stdout, /--probe/);
  await t.assertSnapshot(stdout);
});
