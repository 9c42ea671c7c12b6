import assert from "node:assert/strict";
import fc from "fast-check";
import { CVS_SAMPLES, cvsSample, cvsSampleAsShipped } from "../../testdata/cvs_samples.ts";
import { tempDir } from "../../testdata/temp.ts";
import { Failure } from "../failure.ts";
import { convertCvs } from "./convert.ts";
import { canonicalSpec } from "./spec_hash.ts";
import { type LoadedSpec, readSpecText } from "./spec_load.ts";
import { PACKAGED } from "./spec_setup.ts";

const PATH = "/specs/cluster.json";

async function load(text: string, path = PATH): Promise<LoadedSpec> {
  return await readSpecText(text, { path, needs: "create", user: "ann", home: "/home/ann", cwd: "/" });
}

async function faultsOf(text: string): Promise<string[]> {
  const error: unknown = await load(text).catch((error) => error);
  assert.ok(error instanceof Failure, String(error));
  return error.message.replace(`Cannot use spec "${PATH}": `, "").split("; ");
}

/** A cluster file with `container` and other keys laid over. */
function cluster(container: unknown, outer: Record<string, unknown> = {}): string {
  return JSON.stringify({
    orchestrator: "container",
    username: "{user-id}",
    priv_key_file: "/home/{user-id}/.ssh/id",
    node_dict: { a: { bmc_ip: "NA", vpc_ip: "10.0.0.1" }, b: { bmc_ip: "NA", vpc_ip: "b" } },
    container,
    ...outer,
  });
}

Deno.test("CVS's two samples: every default is there, and the ~/.ssh mount is not", async (t) => {
  const common = {
    lifetime: "per_run",
    pull: "missing",
    hosts: [{ name: "n1", address: "n1" }, { name: "n2", address: "n2" }],
    runtime: "docker",
    sudo: "auto",
    env: { GPUS: "8", MULTINODE: "true" },
    envFiles: [],
    volumes: [],
    devices: ["/dev/kfd", "/dev/dri", "-/dev/infiniband/*"],
    gpus: "none",
    capAdd: ["SYS_PTRACE", "IPC_LOCK", "SYS_ADMIN"],
    securityOpt: ["seccomp=unconfined", "apparmor=unconfined"],
    groupAdd: ["video"],
    ulimits: ["memlock=-1"],
    network: "host",
    ipc: "host",
    privileged: true,
    init: false,
    entrypoint: [],
    command: ["sleep", "infinity"],
    sshd: { port: 2224 },
    startTimeoutMs: 900_000,
  };
  const samples = {
    cluster_container: {
      ...common,
      name: "cvs_container",
      image: "rocm/cvs:latest",
      fanOut: { kind: "ssh", user: "ann", keyFile: "/home/ann/.ssh/id_rsa", options: [] },
    },
    atom_cluster: {
      ...common,
      name: "atom",
      image: "rocm/atom-dev:latest",
      shmSizeBytes: 128 * 1024 ** 3,
      fanOut: { kind: "ssh", user: "ann", keyFile: "/home/ann/.ssh/cluster_id_ed25519", options: [] },
    },
  };
  for (const name of CVS_SAMPLES) {
    await t.step(name, async () => {
      const { spec: { setup, ...spec }, warnings } = await load(await cvsSample(name));
      assert.deepEqual(spec, samples[name]);
      assert.equal(setup!.path, PACKAGED);
      assert.match(warnings.join("\n"), /the mount of ~\/.ssh at \/host_ssh is not carried/);
      assert.equal(
        /shm_size is carried; CVS itself ignores it/.test(warnings.join("\n")),
        name === "atom_cluster",
      );
    });
    await t.step(`${name}, as shipped: the placeholders are named`, async () => {
      const faults = (await faultsOf(await cvsSampleAsShipped(name))).join("\n");
      assert.match(
        faults,
        /line \d+: hosts has "\{.*\}", wanted a host name in place of the template's placeholder/,
      );
    });
    await t.step(`${name}, converted: the same container`, async () => {
      const text = await cvsSample(name);
      const { yaml, notes } = await convertCvs(text, { path: PATH, user: "ann" });
      for (const note of notes) assert.ok(yaml.includes(`# ${note}\n`), note);
      const [before, after] = [(await load(text)).spec, (await load(yaml)).spec];
      assert.deepEqual(after, before);
      assert.equal((await canonicalSpec(after)).hash, (await canonicalSpec(before)).hash);
    });
  }
});

Deno.test("lists go behind CVS's defaults, scalars replace them, env goes over them", async () => {
  const { spec, warnings } = await load(cluster({
    lifetime: "persistent",
    name: "keep",
    image: "rocm/x:1",
    image_tar: "/shared/x.tar",
    env: { GPUS: 4, EXTRA: "a b", _comment: "no variable" },
    volumes: ["/c:/c"],
    runtime: {
      name: "docker",
      args: {
        volumes: ["/d:/d"],
        devices: ["/dev/fuse"],
        cap_add: ["NET_ADMIN"],
        security_opt: ["label=disable"],
        group_add: ["render"],
        ulimit: ["stack=67108864:67108864"],
        network: "bridge",
        ipc: "private",
        privileged: false,
        env: { FROM_ARGS: "1" },
        shm_size: "64G",
        entrypoint: [],
        registry: { server: "", username: "u", password_file: "/home/{user-id}/.token" },
      },
    },
  }));
  assert.deepEqual(spec.env, { GPUS: "4", MULTINODE: "true", EXTRA: "a b", FROM_ARGS: "1" });
  assert.deepEqual(spec.volumes, ["/d:/d", "/c:/c"]);
  assert.deepEqual(spec.devices, ["/dev/kfd", "/dev/dri", "-/dev/infiniband/*", "/dev/fuse"]);
  assert.deepEqual(spec.capAdd.at(-1), "NET_ADMIN");
  assert.deepEqual(spec.securityOpt.at(-1), "label=disable");
  assert.deepEqual(spec.groupAdd, ["video", "render"]);
  assert.deepEqual(spec.ulimits, ["memlock=-1", "stack=67108864:67108864"]);
  assert.deepEqual([spec.network, spec.ipc, spec.privileged], ["bridge", "private", false]);
  assert.deepEqual(spec.registry, { server: "", username: "u", passwordFile: "/home/ann/.token" });
  assert.deepEqual([spec.imageTar, spec.name, spec.lifetime], ["/shared/x.tar", "keep", "persistent"]);
  assert.equal(spec.hosts[0]!.address, "10.0.0.1");
  const told = warnings.join("\n");
  for (
    const what of [
      "args.env is carried; CVS itself fails",
      "container.volumes is carried",
      "shm_size is carried",
    ]
  ) {
    assert.ok(told.includes(what), what);
  }
});

Deno.test("hosts: one has no sshd, the head comes first, node_dict may be a list", async () => {
  const image = { name: "n", image: "x" };
  const one = await load(cluster(image, { node_dict: { a: {} } }));
  assert.deepEqual([one.spec.sshd, one.spec.setup, one.spec.hosts.length], [undefined, undefined, 1]);
  const list = [{ mgmt_ip: "10.1.0.1", vpc_ip: "NA" }, { mgmt_ip: "10.1.0.2", vpc_ip: "172.16.0.2" }];
  for (const head of ["10.1.0.2", "172.16.0.2"]) {
    const { spec, warnings } = await load(
      cluster(image, { node_dict: list, head_node_dict: { mgmt_ip: head } }),
    );
    assert.deepEqual(spec.hosts, [
      { name: "10.1.0.2", address: "172.16.0.2" },
      { name: "10.1.0.1", address: "10.1.0.1" },
    ]);
    assert.match(warnings.join("\n"), /the head node "\S+" comes first/);
    assert.deepEqual(spec.sshd, { port: 2224 });
  }
  const slurm = await readSpecText(cluster(image), {
    ...{ path: PATH, needs: "create", user: "ann", home: "/", cwd: "/", flags: { "fan-out": "slurm" } },
  });
  assert.deepEqual(slurm.spec.fanOut, { kind: "slurm", options: [] });
  assert.match(
    (await faultsOf(cluster(image, { head_node_dict: { mgmt_ip: "c" } })))[0]!,
    /head_node_dict.mgmt_ip is "c", wanted one of node_dict's hosts/,
  );
});

Deno.test("the errors of CVS, with their meaning, all at once and with their lines", async (t) => {
  const image = { name: "n", image: "x" };
  for (const value of [true, false, null, 0, "x", {}]) {
    await t.step(`enabled and launch: ${JSON.stringify(value)}`, async () => {
      assert.deepEqual(await faultsOf(cluster({ ...image, enabled: value, launch: value })), [
        "line 1: container.enabled is removed: delete it and set container.lifetime to no_launch, per_run or persistent",
        "line 1: container.launch is removed: delete it and set container.lifetime " +
        "(launch: true is per_run, launch: false is no_launch)",
      ]);
    });
  }
  for (
    const [what, text, pattern] of [
      [
        "lifetime",
        cluster({ ...image, lifetime: "forever" }),
        /lifetime must be one of no_launch, per_run, persistent, got "forever"/,
      ],
      ["lifetime null", cluster({ ...image, lifetime: null }), /lifetime must be one of .*, got null/],
      ["persistent without a name", cluster({ image: "x", lifetime: "persistent" }), /name is missing/],
      ["no image", cluster({ name: "n" }), /image is missing/],
      [
        "baremetal",
        cluster(image, { orchestrator: "baremetal" }),
        /orchestrator is "baremetal", wanted "container"/,
      ],
      [
        "enroot",
        cluster({ ...image, runtime: { name: "enroot" } }),
        /runtime must be one of docker, podman, got "enroot"/,
      ],
      ["changeme", cluster(image, { username: "<changeme>" }), /<changeme> is to be replaced/],
      ["no hosts", cluster(image, { node_dict: {} }), /node_dict wants hosts/],
      [
        "a typing error",
        cluster({ ...image, lifetme: "persistent" }),
        /unknown key "container.lifetme" \(did you mean "lifetime"\?\)/,
      ],
      [
        "another",
        cluster({ ...image, runtime: { args: { shmsize: "1G" } } }),
        /"container.runtime.args.shmsize" \(did you mean "shm_size"\?\)/,
      ],
      [
        "script",
        cluster({ ...image, setup_script: "no.sh" }),
        /script "\/specs\/no.sh": there is no such file/,
      ],
      [
        "injection",
        cluster({ name: "bad name; echo hi", image: "x" }),
        /name is "bad name; echo hi", wanted/,
      ],
    ] as const
  ) await t.step(what, async () => assert.match((await faultsOf(text)).join("; "), pattern));

  await t.step("missing keys, together", async () => {
    assert.deepEqual(await faultsOf('{"orchestrator": "container"}'), [
      "line 1: node_dict is missing",
      "line 1: username is missing",
      "line 1: priv_key_file is missing",
      "line 1: container is missing",
      "image is missing",
      "name is missing: give --name",
    ]);
  });
});

Deno.test("setup_script: null, empty and absent are the packaged one; a path is found from the file", async () => {
  await using dir = await tempDir("cvs");
  await Deno.writeTextFile(dir.join("s.sh"), "echo mine\n");
  const image = { name: "n", image: "x" };
  for (const setup of [{}, { setup_script: null }, { setup_script: "" }]) {
    assert.equal((await load(cluster({ ...image, ...setup }))).spec.setup!.path, PACKAGED);
  }
  const { spec } = await load(cluster({ ...image, setup_script: "s.sh" }), dir.join("c.json"));
  assert.deepEqual([spec.setup!.path, spec.setup!.text], [dir.join("s.sh"), "echo mine\n"]);
});

Deno.test("what cannot be carried is noted, without secrets, and a control character changes no line", async () => {
  const text = cluster({ image: "rocm/x:1" }, {
    password: "hunter2",
    env_vars: { PATH: "/x" },
    cluster_name: "\u001b[2Jred",
    _comment: "nothing",
  });
  const { yaml, notes } = await convertCvs(text, { path: PATH, user: "ann" });
  const told = notes.join("\n");
  assert.match(told, /password is not carried/);
  assert.match(told, /env_vars is not carried/);
  assert.match(told, /"cluster_name" is not carried/);
  assert.match(told, /CVS calls it "ann_rocm_x_1", davit does not/);
  for (const absent of ["hunter2", "\u001b", "nothing"]) assert.ok(!yaml.includes(absent), absent);
  const native = await convertCvs("image: x", { path: PATH, user: "ann" }).catch((error) => error);
  assert.match(native.message, /it is no CVS cluster file/);
});

Deno.test("any environment of a CVS file comes through a conversion as it was written", async () => {
  const value = fc.oneof(
    fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0") && !text.includes("<changeme>")),
    fc.constantFrom(
      "a b",
      "a\nb\n",
      "$(x)",
      "# no comment",
      "- x",
      "yes",
      "null",
      "1.0",
      "0644",
      "x: y",
      " ",
      "'",
      "\t",
    ),
    fc.integer(),
    fc.boolean(),
  );
  const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_]{0,9}$/);
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 4 }), async (env) => {
      const text = cluster({ name: "n", image: "x", env });
      const { yaml } = await convertCvs(text, { path: PATH, user: "ann" });
      assert.deepEqual((await load(yaml)).spec, (await load(text)).spec);
      const wanted = Object.entries(env).map(([key, of]) => [key, String(of)]);
      const { env: read } = (await load(yaml)).spec;
      for (const [key, of] of wanted) assert.equal(read[key!], of);
    }),
    { numRuns: 40 },
  );
  const { yaml } = await convertCvs(
    '{"container":{"name":"n","image":"x","env":{"R":1.0}},"username":"a",' +
      '"priv_key_file":"/k","node_dict":{"a":{}}}',
    { path: PATH, user: "ann" },
  );
  assert.equal((await load(yaml)).spec.env.R, "1.0");
});
