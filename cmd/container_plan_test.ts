import assert from "node:assert/strict";
import { cvsSample } from "../testdata/cvs_samples.ts";
import { davit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";

Deno.test("container convert writes a spec that container plan reads", async (t) => {
  await using dir = await tempDir("convert");
  await Deno.writeTextFile(dir.join("cluster.json"), await cvsSample("atom_cluster"));
  const { code, stdout } = await davit(["container", "convert", "cluster.json"], {
    cwd: dir.path,
    env: { USER: "ann", SUDO_USER: undefined },
  });
  assert.equal(code, 0);
  assert.match(stdout, /^# line \d+: container\.runtime\.args\.shm_size is carried; CVS itself ignores it$/m);
  assert.match(stdout, /^shm_size: 128G$/m);
  assert.match(stdout, /^ {2}key_file: \/home\/ann\/\.ssh\/cluster_id_ed25519$/m);

  await t.step("--json", async () => {
    const { stdout: json } = await davit(["container", "convert", "cluster.json", "--json"], {
      cwd: dir.path,
    });
    const { spec, notes } = JSON.parse(json);
    assert.deepEqual([spec.name, spec.sshd, notes.length], ["atom", true, 2]);
  });
  await t.step("what is wrong with a file, as one line and as JSON", async () => {
    const old = (await cvsSample("atom_cluster")).replace(
      '"lifetime": "per_run"',
      '"launch": true, "enabled": true',
    );
    await Deno.writeTextFile(dir.join("old.json"), old);
    const text = await davit(["container", "convert", "old.json"], { cwd: dir.path });
    assert.equal(text.code, 65);
    assert.match(
      text.stderr,
      /line 22: container\.launch is removed: .*; line 22: container\.enabled is removed: /,
    );
    const json = await davit(["container", "plan", "-f", "old.json", "--json"], { cwd: dir.path });
    assert.equal(json.code, 65);
    assert.equal(JSON.parse(json.stderr).error.code, "bad_spec");
    assert.equal(json.stdout, "");
  });
  await t.step("no such file", async () => {
    const { code, stderr } = await davit(["container", "convert", "none.json"], { cwd: dir.path });
    assert.equal(code, 66);
    assert.match(stderr, /^davit: Cannot read spec "\/.*\/none\.json": /);
  });
});

Deno.test("container plan: a refusal is a result, with the exit status that up would end with", async (t) => {
  await using dir = await tempDir("plan");
  // Nobody has a runtime in there.
  const env = { PATH: dir.path, USER: "ann" };
  await Deno.writeTextFile(
    dir.join("spec.yaml"),
    "image: x:1\nname: box\nlifetime: persistent\nsudo: never\n",
  );
  const flags = ["container", "plan", "-f", dir.join("spec.yaml")];
  await t.step("unknown", async () => {
    const { code, stdout } = await davit(flags, { env });
    assert.equal(code, 4, stdout);
    assert.match(
      stdout,
      /^refused \(runtime_missing\): Cannot tell the state of container "box" on 1 of 1 hosts/,
    );
    assert.match(stdout, /^hint: install it there, or use --runtime$/m);
  });
  await t.step("--json", async () => {
    const { code, stdout } = await davit([...flags, "--json"], { env });
    const plan = JSON.parse(stdout);
    assert.deepEqual([code, plan.kind, plan.exit, plan.code], [4, "refusal", "UNKNOWN", "runtime_missing"]);
    assert.deepEqual(plan.hosts.map(({ host }: { host: string }) => host), ["localhost"]);
  });
  await t.step("up says the same, once, on stderr", async () => {
    const { code, stdout, stderr } = await davit(["container", "up", ...flags.slice(2)], { env });
    assert.deepEqual([code, stdout], [4, ""]);
    assert.match(stderr, /Cannot tell the state of container "box"/);
  });
  await t.step("per_run is not for up", async () => {
    const { code, stderr } = await davit(["container", "up", "--image", "x:1"], { env });
    assert.equal(code, 64);
    assert.match(stderr, /its lifetime is per_run/);
  });
  await t.step("flags with faults", async () => {
    const { code, stderr } = await davit(["container", "plan", "--image", "-x", "--shm-size", "big"], {
      env,
    });
    assert.equal(code, 64);
    assert.match(
      stderr,
      /^davit: Cannot use these flags: --image: image is "-x", wanted .*; --shm-size: shm_size wants/,
    );
  });
});
