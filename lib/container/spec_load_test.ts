import assert from "node:assert/strict";
import fc from "fast-check";
import { Failure } from "../failure.ts";
import { tempDir } from "../../testdata/temp.ts";
import { containerName, device, hostName, imageName, parseMemory, volume, word } from "./spec_checks.ts";
import { type LoadOptions, loadSpec, readSpecText } from "./spec_load.ts";
import { nearest } from "./spec_node.ts";
import { DEFAULT_SETUP, PACKAGED } from "./spec_setup.ts";

const OPTIONS = { needs: "create", user: "ann", home: "/home/ann", cwd: "/work" } as const;

async function load(text: string, options: Partial<LoadOptions & { path: string }> = {}) {
  return await readSpecText(text, { ...OPTIONS, path: "/specs/a.yaml", ...options });
}

async function specOf(text: string, options: Partial<LoadOptions> = {}) {
  return (await load(text, options)).spec;
}

/** The faults of a spec that cannot be used. */
async function faultsOf(text: string, options: Partial<LoadOptions> = {}): Promise<string[]> {
  try {
    await load(text, options);
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    assert.equal(error.code, "bad_spec");
    assert.equal(error.exitStatus, 65);
    return error.message.replace('Cannot use spec "/specs/a.yaml": ', "").split("; ");
  }
  assert.fail(`no fault in ${text}`);
}

Deno.test("a spec with every key", async () => {
  await using dir = await tempDir("spec");
  await Deno.writeTextFile(dir.join("setup.sh"), "#!/bin/sh\necho one\n");
  await Deno.writeTextFile(dir.join("start.sh"), "echo two\n");
  await Deno.writeTextFile(
    dir.join("spec.yaml"),
    `
name: train
lifetime: persistent
image: registry.example:5000/rocm/pytorch:6.4@sha256:${"a".repeat(64)}
image_tar: /shared/pytorch.tar
pull: always
registry: {server: registry.example:5000, username: ci, password_file: /etc/pass}
hosts:
  kind: ssh
  names: [n1, {name: n2, address: 10.0.0.2}, "fe80::1%eth0"]
  user: ci
  key_file: ~/.ssh/id_ed25519
  options: [-J, bastion]
runtime: podman
sudo: always
env: {GPUS: 8, RATIO: 1.0, MODE: 0644, FLAG: true, EMPTY: "", TEXT: "a $(b) \\"c\\" 'd'\\nline two"}
env_file: [/etc/secrets.env]
volumes: ["/data:/data:ro", "cache:/cache"]
devices: [/dev/kfd, -/dev/infiniband/*, "/dev/sda:/dev/xvda:rw", nvidia.com/gpu=all]
gpus: amd
cap_add: [SYS_PTRACE]
security_opt: [seccomp=unconfined]
group_add: [video, "44"]
ulimits: {memlock: -1, nofile: "1024:2048"}
network: host
ipc: container:other
pid: host
hostname: box
privileged: true
shm_size: 128G
init: true
entrypoint: [/bin/tini, --]
command: [sleep, "1000"]
user: "1000:100"
workdir: /work
restart: unless-stopped
setup_script: setup.sh
start_script: ${dir.join("start.sh")}
sshd: {port: 2225}
start_timeout: 20m
lease: 7d
`,
  );
  const loaded = await loadSpec({ ...OPTIONS, file: dir.join("spec.yaml") });
  assert.equal(loaded.isComplete, true);
  assert.equal(loaded.path, dir.join("spec.yaml"));
  const { setup, everyStart, ...spec } = loaded.spec;
  assert.deepEqual(setup, {
    path: dir.join("setup.sh"),
    text: "#!/bin/sh\necho one\n",
    sha256: setup!.sha256,
  });
  assert.match(setup!.sha256, /^[0-9a-f]{64}$/);
  assert.equal(everyStart!.text, "echo two\n");
  assert.deepEqual(spec, {
    name: "train",
    lifetime: "persistent",
    image: `registry.example:5000/rocm/pytorch:6.4@sha256:${"a".repeat(64)}`,
    imageTar: "/shared/pytorch.tar",
    pull: "always",
    registry: { server: "registry.example:5000", username: "ci", passwordFile: "/etc/pass" },
    hosts: [
      { name: "n1", address: "n1" },
      { name: "n2", address: "10.0.0.2" },
      { name: "fe80::1%eth0", address: "fe80::1%eth0" },
    ],
    fanOut: { kind: "ssh", user: "ci", keyFile: "/home/ann/.ssh/id_ed25519", options: ["-J", "bastion"] },
    runtime: "podman",
    sudo: "always",
    // As it was written: 0644 is no number here.
    env: {
      GPUS: "8",
      RATIO: "1.0",
      MODE: "0644",
      FLAG: "true",
      EMPTY: "",
      TEXT: "a $(b) \"c\" 'd'\nline two",
    },
    envFiles: ["/etc/secrets.env"],
    volumes: ["/data:/data:ro", "cache:/cache"],
    devices: ["/dev/kfd", "-/dev/infiniband/*", "/dev/sda:/dev/xvda:rw", "nvidia.com/gpu=all"],
    gpus: "amd",
    capAdd: ["SYS_PTRACE"],
    securityOpt: ["seccomp=unconfined"],
    groupAdd: ["video", "44"],
    ulimits: ["memlock=-1", "nofile=1024:2048"],
    network: "host",
    ipc: "container:other",
    pid: "host",
    hostname: "box",
    privileged: true,
    shmSizeBytes: 128 * 1024 ** 3,
    init: true,
    entrypoint: ["/bin/tini", "--"],
    command: ["sleep", "1000"],
    user: "1000:100",
    workdir: "/work",
    restart: "unless-stopped",
    sshd: { port: 2225 },
    startTimeoutMs: 1_200_000,
    leaseMs: 7 * 86_400_000,
  });
});

Deno.test("what holds where a spec says nothing", async (t) => {
  const { name, ...spec } = await specOf("image: rocm/pytorch:latest");
  assert.match(name, /^ann_rocm_pytorch_latest_[0-9a-f]{8}$/);
  assert.deepEqual(spec, {
    lifetime: "per_run",
    image: "rocm/pytorch:latest",
    pull: "missing",
    hosts: [{ name: "localhost", address: "localhost" }],
    fanOut: { kind: "local", options: [] },
    runtime: "docker",
    sudo: "auto",
    env: {},
    envFiles: [],
    volumes: [],
    devices: [],
    gpus: "auto",
    capAdd: [],
    securityOpt: [],
    groupAdd: [],
    ulimits: [],
    privileged: false,
    init: false,
    entrypoint: [],
    command: ["sleep", "infinity"],
    startTimeoutMs: 900_000,
  });

  await t.step("names of images that differ only in signs differ", async () => {
    const names = await Promise.all(
      ["a:b", "a_b", "a/b", "a-b"].map(async (image) => (await specOf(`image: ${image}`)).name),
    );
    assert.equal(new Set(names).size, 4);
    for (const each of names) assert.equal(containerName(each), undefined);
    const digest = await specOf(`image: x@sha256:${"b".repeat(64)}`, { user: "DOMAIN\\ann b" });
    assert.match(digest.name, /^DOMAIN_ann_b_x_[0-9a-f]{8}$/);
  });
  await t.step("the image's own entrypoint stays only with a command of one's own", async () => {
    const { entrypoint, command } = await specOf("image: x\ncommand: [serve]");
    assert.deepEqual([entrypoint, command], [undefined, ["serve"]]);
  });
  await t.step("settings hold where the spec says nothing, and only there", async () => {
    const defaults = { runtime: "podman", sudo: "never", fanOut: "slurm" } as const;
    const bare = await specOf("image: x", { defaults });
    assert.deepEqual([bare.runtime, bare.sudo, bare.fanOut.kind, bare.hosts], [
      "podman",
      "never",
      "slurm",
      [],
    ]);
    const said = await specOf("image: x\nruntime: docker\nhosts: {kind: ssh, names: [a]}", { defaults });
    assert.deepEqual([said.runtime, said.fanOut.kind], ["docker", "ssh"]);
  });
  await t.step("slurm without names means the allocation, local this machine", async () => {
    assert.deepEqual((await specOf("image: x\nhosts: {kind: slurm}")).hosts, []);
    assert.equal((await specOf("image: x\nhosts: {kind: local}")).hosts[0]!.name, "localhost");
  });
});

Deno.test("lifetime: three words and nothing else; enabled and launch are errors whatever they say", async () => {
  for (const word of ["no_launch", "per_run", "persistent"]) {
    assert.equal((await specOf(`image: x\nname: n\nlifetime: ${word}`)).lifetime, word);
  }
  for (const value of ["null", "", "forever", "Persistent", "true", "1", "[per_run]", "{a: b}"]) {
    const [fault] = await faultsOf(`image: x\nname: n\nlifetime: ${value}`);
    assert.match(fault!, /^line 3: lifetime must be one of no_launch, per_run, persistent, got /, value);
  }
  assert.deepEqual(await faultsOf("image: x\nlifetime: null"), [
    "line 2: lifetime must be one of no_launch, per_run, persistent, got null",
  ]);
  for (const value of ["true", "false", "null", "[]", "anything"]) {
    assert.deepEqual(await faultsOf(`image: x\nenabled: ${value}\nlaunch: ${value}`), [
      "line 2: enabled is removed: delete it and set lifetime to no_launch, per_run or persistent",
      "line 3: launch is removed: delete it and set lifetime (launch: true is per_run, launch: false is no_launch)",
    ]);
  }
  assert.match((await faultsOf("image: x\nlifetime: persistent"))[0]!, /^name is missing/);
});

Deno.test("every fault is reported, with its line and the nearest word", async () => {
  assert.deepEqual(
    await faultsOf(`name: -x
imgae: a
shm-size: 1G
hosts: ["-oProxyCommand=x", a, a]
env: {"A=": x, C: null}
volumes: [data, 7]
shm_size: 12X
pull: sometimes
privileged: "yes"
command: sleep infinity
sshd: {port: 99999}
registry: {user: x}
start_timeout: soon
setup_script: nope.sh
zzz: 1
`),
    [
      'line 1: name is "-x", wanted a name of letters, digits, _, . and -, at most 128, not beginning with a sign',
      'line 2: unknown key "imgae" (did you mean "image"?)',
      'line 3: unknown key "shm-size" (did you mean "shm_size"?)',
      'line 4: hosts has "-oProxyCommand=x", wanted a host name or address (the login goes into `user`, a port into `options`)',
      'line 4: hosts has "a" twice',
      'line 5: env has "A=", wanted a variable\'s name of letters, digits and _',
      'line 5: env wants a text for "C" ("" is the empty one)',
      'line 6: volumes is "data", wanted SOURCE:TARGET[:OPTIONS] with absolute paths, or a volume\'s name as source',
      'line 6: volumes is "7", wanted SOURCE:TARGET[:OPTIONS] with absolute paths, or a volume\'s name as source',
      "line 7: shm_size wants a size such as 128G (powers of 1024, as docker has it)",
      'line 8: pull must be one of missing, always, never, got "sometimes"',
      "line 9: privileged must be true or false",
      "line 10: command wants a list of texts",
      "line 11: sshd.port wants a port from 1 to 65535",
      "line 12: registry.username is missing",
      "line 12: registry.password_file is missing",
      'line 12: unknown key "registry.user" (did you mean "username"?)',
      'line 13: start_timeout wants a duration such as 600, 500ms, 10m or 1h30m, got "soon"',
      'line 14: script "/specs/nope.sh": there is no such file',
      'line 15: unknown key "zzz"',
      "image is missing",
    ],
  );
  assert.equal(nearest("persistant", ["persistent", "per_run"]), "persistent");
  assert.equal(nearest("qqqqqq", ["persistent", "per_run"]), undefined);
});

Deno.test("bounds: a start may take a day, and user and key are for ssh", async () => {
  assert.match((await faultsOf("image: x\nstart_timeout: 25h"))[0]!, /start_timeout wants at most 1 d$/);
  assert.match((await faultsOf("image: x\nlease: 0"))[0]!, /lease wants more than nothing$/);
  assert.match(
    (await faultsOf("image: x\nhosts: {kind: slurm, user: a}"))[0]!,
    /are for ssh, but kind is slurm/,
  );
  assert.match((await faultsOf("image: x\nhosts: {kind: local, names: [a, b]}"))[0]!, /more than one name/);
  assert.match((await faultsOf("image: x\nhosts: []"))[0]!, /leave it out to mean this machine/);
});

Deno.test("texts that are no spec", async () => {
  assert.match((await faultsOf("a: [1"))[0]!, /^line 1: /);
  assert.match((await faultsOf('{"image": "x",\n "image": "y"}'))[0]!, /^line 2: Map keys must be unique/);
  assert.deepEqual(await faultsOf("- a"), ["line 1: it is a list, wanted a map of keys"]);
  assert.match((await faultsOf(""))[0]!, /it is a scalar, wanted a map/);
  // Aliases that multiply, and one that holds itself.
  const bomb = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (let i = 0; i < 8; i++) {
    const [from, to] = [String.fromCharCode(97 + i), String.fromCharCode(98 + i)];
    bomb.push(
      `${to}: &${to} [*${from}, *${from}, *${from}, *${from}, *${from}, *${from}, *${from}, *${from}]`,
    );
  }
  assert.match((await faultsOf(bomb.join("\n")))[0]!, /more than 100000 values or 32 levels/);
  assert.match((await faultsOf("a: &a [*a]"))[0]!, /more than 100000 values or 32 levels/);
  const missing = await loadSpec({ ...OPTIONS, file: "/no/such.yaml" }).catch((error) => error);
  assert.deepEqual([missing.code, missing.exitStatus], ["no_spec", 66]);
  const json = await specOf('{\n\t"image": "x",\n\t"env": {"A": "\\ud83d\\ude00 \\/"}\n}');
  assert.equal(json.env.A, "😀 /");
  const shared = await specOf("image: x\nenv: &e {A: b}\n");
  assert.deepEqual(shared.env, { A: "b" });
});

Deno.test("scripts: found from the spec's place, there when it is loaded, the packaged one for sshd", async (t) => {
  await using dir = await tempDir("spec");
  const path = dir.join("sub", "spec.yaml");
  await Deno.mkdir(dir.join("sub"));
  const big = `#!/bin/sh\n${"# ".padEnd(99, "x")}\n`.padEnd(1 << 20, "\n");
  await Deno.writeTextFile(dir.join("big.sh"), big);
  await t.step("relative, ~ and absolute", async () => {
    for (
      const [text, home] of [["../big.sh", "/"], ["~/big.sh", dir.path], [dir.join("big.sh"), "/"]] as const
    ) {
      const { setup } = await specOf(
        `image: x\nsetup_script: ${text}`,
        { path, home } as Partial<LoadOptions>,
      );
      assert.equal(setup!.text, big);
      assert.equal(setup!.path.startsWith("/"), true);
    }
  });
  await t.step("a flag's path is relative to the working directory", async () => {
    const { setup } = await specOf("image: x", { cwd: dir.path, flags: { "setup-script": "big.sh" } });
    assert.equal(setup!.path, dir.join("big.sh"));
  });
  await t.step("missing, a directory, another user's home", async () => {
    assert.match(
      (await faultsOf(`image: x\nsetup_script: ${dir.join("sub")}`))[0]!,
      /^line 2: .* not a regular file/,
    );
    assert.match(
      (await faultsOf("image: x\nstart_script: /no/such.sh"))[0]!,
      /^line 2: .*there is no such file/,
    );
    assert.match((await faultsOf("image: x\nsetup_script: ~bob/x.sh"))[0]!, /only ~ and ~\/ are understood/);
  });
  await t.step("absent, null and empty mean the packaged one where sshd is wanted", async () => {
    for (const line of ["", "setup_script:", "setup_script: null", 'setup_script: ""']) {
      const wanted = await specOf(`image: x\nsshd: true\n${line}`);
      assert.deepEqual([wanted.setup!.path, wanted.setup!.text], [PACKAGED, DEFAULT_SETUP], line);
      assert.equal(wanted.sshd!.port, 2224);
      assert.equal((await specOf(`image: x\n${line}`)).setup, undefined, line);
    }
    assert.equal((await specOf("image: x\nsshd: false")).sshd, undefined);
  });
});

Deno.test("flags are the spec's keys: a text replaces, a list is added to, --hosts picks or names", async (t) => {
  const file = "image: x\nname: n\nshm_size: 1G\nenv: {A: a, B: b}\nvolumes: [/a:/a]\nhosts: [n1, n2, n3]";
  await t.step("laid over a file", async () => {
    const flags = {
      "shm-size": "2G",
      env: ["B=c=d", "C=$(x)"],
      volume: ["/b:/b"],
      privileged: true,
      "sshd-port": "2300",
    };
    const spec = await specOf(file, { flags });
    assert.equal(spec.shmSizeBytes, 2 * 1024 ** 3);
    assert.deepEqual(spec.env, { A: "a", B: "c=d", C: "$(x)" });
    assert.deepEqual(spec.volumes, ["/a:/a", "/b:/b"]);
    assert.deepEqual([spec.privileged, spec.sshd!.port], [true, 2300]);
    const { fanOut } = await specOf(file, { flags: { "fan-out": "slurm", "fan-out-option": ["--jobid=7"] } });
    assert.deepEqual(fanOut, { kind: "slurm", options: ["--jobid=7"] });
  });
  await t.step("alone", async () => {
    const flags = { name: "box", image: "y", hosts: ["n1,n2", "n3"], login: "ci" };
    const { spec, isComplete } = await loadSpec({ ...OPTIONS, flags });
    assert.deepEqual(spec.hosts.map(({ name }) => name), ["n1", "n2", "n3"]);
    assert.deepEqual(spec.fanOut, { kind: "ssh", options: [], user: "ci" });
    assert.equal(isComplete, true);
  });
  await t.step("only a name, to join", async () => {
    const { spec, isComplete } = await loadSpec({ ...OPTIONS, needs: "join", flags: { name: "box" } });
    assert.deepEqual([spec.image, spec.name, isComplete], ["", "box", false]);
    const nothing = await loadSpec({ ...OPTIONS, needs: "join" }).catch((error) => error);
    assert.match(nothing.message, /^Cannot use these flags: name is missing: give --name or a spec with -f/);
    assert.equal(nothing.exitStatus, 64);
    const { spec: hosts } = await loadSpec({ ...OPTIONS, needs: "hosts", flags: { hosts: "n1" } });
    assert.deepEqual([hosts.name, hosts.hosts.length], ["", 1]);
  });
  await t.step("--hosts picks some of the file's, but not for what makes containers", async () => {
    const { chosenHosts, spec } = await load(file, { needs: "join", flags: { hosts: "n3,n1" } });
    assert.deepEqual(chosenHosts, ["n1", "n3"]);
    assert.equal(spec.hosts.length, 3);
    assert.match(
      (await faultsOf(file, { needs: "join", flags: { hosts: "n9" } }))[0]!,
      /"n9" is none of the spec's hosts/,
    );
    const refused = await load(file, { flags: { hosts: "n1" } }).catch((error) => error);
    assert.deepEqual([refused.code, refused.exitStatus], ["hosts_twice", 64]);
  });
  await t.step("faults name the flag", async () => {
    const error = await loadSpec({ ...OPTIONS, flags: { image: "-x", "shm-size": "no", lifetime: "ever" } })
      .catch((error) => error);
    assert.match(error.message, /--image: image is "-x"/);
    assert.match(error.message, /--shm-size: shm_size wants a size/);
    assert.match(error.message, /--lifetime: lifetime must be one of/);
  });
});

Deno.test("nothing that is accepted as one word can pass for a flag or a second line", () => {
  fc.assert(fc.property(
    fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.constantFrom(
        "-v",
        "--privileged",
        "a b",
        "a\nb",
        "$(x)",
        "a;b",
        "`x`",
        "a'b",
        'a"b',
        "ok",
        "n1.example.org",
        "-oProxyCommand=x",
        "fe80::1%eth0",
        "a@b",
        "../x",
        "%h",
        "::",
        "a:b",
        "[::1]:22",
      ),
    ),
    (text) => {
      for (const check of [containerName, hostName, imageName, word]) {
        if (check(text) === undefined) assert.match(text, /^[A-Za-z0-9_:][A-Za-z0-9_.:,=/@+%-]*$/);
      }
      for (const check of [volume, device]) {
        if (check(text) === undefined) assert.doesNotMatch(text, /[\n\r\0]|^--/);
      }
    },
  ));
});

Deno.test("any environment comes through as it was written", async () => {
  const huge = "x".repeat(100_000);
  const value = fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.constantFrom(huge, "a b", "a\nb", "$(x) `y` ${z}", "'\"\\", "=", " "),
  );
  const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,9}$/).filter((text) => text !== "__proto__");
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 4 }), async (env) => {
      const wanted = { ...env };
      const text = JSON.stringify({ image: "x", env });
      const options = Object.values(env).some((text) => text.includes("\0"));
      if (options) return void assert.match((await faultsOf(text))[0]!, /without NUL/);
      assert.deepEqual({ ...(await specOf(text)).env }, wanted);
      const flags = { image: "x", env: Object.entries(env).map((pair) => pair.join("=")) };
      assert.deepEqual({ ...(await loadSpec({ ...OPTIONS, flags })).spec.env }, wanted);
    }),
    { numRuns: 50 },
  );
});

Deno.test("sizes are docker's: powers of 1024", () => {
  assert.deepEqual(["128G", "128GB", "128GiB", "64m", "1.5k", "4096"].map(parseMemory), [
    137438953472,
    137438953472,
    137438953472,
    67108864,
    1536,
    4096,
  ]);
  for (const text of ["", "G", "-1", "1e3", "0", "12X", "1 2"]) {
    assert.throws(() => parseMemory(text), SyntaxError);
  }
});
