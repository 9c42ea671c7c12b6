import assert from "node:assert/strict";
import { CVS_SAMPLES, cvsSample } from "../../../testdata/cvs_samples.ts";
import { sampleLabels, sampleSpec } from "../../../testdata/runtime_host.ts";
import { matchesSnapshot } from "../../../testdata/snapshot.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { readSpecText } from "../spec_load.ts";
import { createArgv } from "./create.ts";
import { deviceFlags } from "./devices.ts";
import { docker } from "./runtime_docker.ts";
import { podman } from "./runtime_podman.ts";

const IMAGE_FACTS = { id: `sha256:${"1".repeat(64)}`, digest: `sha256:${"2".repeat(64)}` };

Deno.test("CVS's sample cluster files make these calls", async (t) => {
  await using dir = await tempDir("dev");
  await Deno.mkdir(dir.join("infiniband"));
  for (const name of ["kfd", "dri", "infiniband/uverbs0", "infiniband/rdma_cm"]) {
    await Deno.writeTextFile(dir.join(name), "");
  }
  await Deno.writeTextFile(dir.join("group"), "root:x:0:\nvideo:x:44:\nrender:x:109:\n");
  const places = { root: dir.path, groups: dir.join("group") };
  const calls: Record<string, string[]> = {};
  for (const sample of CVS_SAMPLES) {
    const { spec } = await readSpecText(await cvsSample(sample), {
      ...{ path: "/etc/cluster.json", needs: "create", user: "alice", home: "/home/alice", cwd: "/" },
    });
    for (const runtime of [docker, podman]) {
      const devices = deviceFlags(spec, runtime, { isRootless: false, places });
      const labels = sampleLabels(spec, IMAGE_FACTS);
      const argv = createArgv(spec, {
        ...{ labels, image: IMAGE_FACTS, deviceFlags: devices.flags },
        envFlags: Object.keys(spec.env).map((name) => `--env=${name}`),
      });
      calls[`${sample} ${runtime.name}`] = argv;
    }
  }
  await t.step("snapshot", () => matchesSnapshot(calls, "cvs/create_argv.json"));
});

Deno.test("createArgv() makes one word of each value, whatever is in it", () => {
  const odd = `--rm $(touch /tmp/x); 'a' "b"\n-v /:/host`;
  const spec = sampleSpec({
    name: "n",
    envFiles: [odd],
    volumes: [odd],
    capAdd: [odd],
    securityOpt: [odd],
    ulimits: [odd],
    network: odd,
    ipc: odd,
    pid: odd,
    hostname: odd,
    user: odd,
    workdir: odd,
    restart: odd,
    shmSizeBytes: 1 << 30,
    init: true,
    privileged: true,
    entrypoint: [odd, "--privileged"],
    command: [odd, "--rm"],
  });
  const argv = createArgv(spec, {
    labels: { ...sampleLabels(spec, IMAGE_FACTS), owner: odd },
    image: IMAGE_FACTS,
    deviceFlags: [],
    envFlags: [],
  });
  const at = argv.indexOf(IMAGE_FACTS.id);
  assert.deepEqual(
    argv.slice(at + 1),
    ["--privileged", odd, "--rm"],
    "behind the image nothing is an option",
  );
  for (const word of argv.slice(1, at)) {
    assert.match(word, /^--[a-z-]+(=|$)/, "in front of it everything is one word with its own value");
  }
  assert.equal(argv.filter((word) => word === "--privileged").length, 2);
  assert.ok(argv.includes("--shm-size=1073741824"));
});

Deno.test("createArgv() leaves the image's entrypoint alone only where the spec does", () => {
  const argvOf = (entrypoint: readonly string[] | undefined) => {
    const { entrypoint: _, ...rest } = sampleSpec();
    const spec = entrypoint === undefined ? rest : { ...rest, entrypoint };
    const parts = {
      labels: sampleLabels(spec, IMAGE_FACTS),
      image: IMAGE_FACTS,
      deviceFlags: [],
      envFlags: [],
    };
    return createArgv(spec, parts).filter((word) => word.startsWith("--entrypoint"));
  };
  assert.deepEqual(argvOf(undefined), []);
  assert.deepEqual(argvOf([]), ["--entrypoint="]);
  assert.deepEqual(argvOf(["/init", "-x"]), ["--entrypoint=/init"]);
});
