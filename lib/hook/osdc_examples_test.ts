import assert from "node:assert/strict";
import { parse } from "yaml";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";

const EXAMPLES = decodeURIComponent(new URL("../../examples/osdc/", import.meta.url).pathname);

interface Container {
  name: string;
  image?: string;
  command?: string[];
  env?: { name: string; value: string }[];
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
}

interface Pod {
  spec: {
    initContainers?: Container[];
    containers: Container[];
    volumes?: { name: string; hostPath?: { path: string; type: string }; emptyDir?: unknown }[];
  };
}

async function readPod(name: string): Promise<Pod["spec"]> {
  const { spec } = parse(await Deno.readTextFile(EXAMPLES + name)) as Pod;
  for (const { volumeMounts = [] } of [...spec.initContainers ?? [], ...spec.containers]) {
    for (const mount of volumeMounts) {
      assert.ok(
        spec.volumes?.some((volume) => volume.name === mount.name),
        `${name}: no volume ${mount.name}`,
      );
      assert.doesNotMatch(mount.mountPath, /^\/tmp\b/);
    }
  }
  return spec;
}

/** Where rpc-server.sh looks for davit. */
async function places(): Promise<string[]> {
  const script = await Deno.readTextFile(`${EXAMPLES}rpc-server.sh`);
  return /^for davit in (.*); do$/m.exec(script)![1]!.split(" ");
}

Deno.test("examples/osdc: the pod templates put davit where rpc-server.sh looks", async (t) => {
  const [mounted, carried] = await places();
  await t.step("hostpath.yaml", async () => {
    const { containers, volumes } = await readPod("hostpath.yaml");
    const [job] = containers;
    assert.equal(job!.name, "$job");
    assert.deepEqual(job!.volumeMounts!.map(({ mountPath, readOnly }) => [`${mountPath}/davit`, readOnly]), [[
      mounted,
      true,
    ]]);
    assert.deepEqual(volumes![0]!.hostPath, { path: "/opt/davit", type: "Directory" });
  });
  await t.step("init_container.yaml", async () => {
    const { initContainers, containers } = await readPod("init_container.yaml");
    const [init] = initContainers!;
    assert.equal(init!.command!.at(-1), mounted);
    assert.equal(init!.volumeMounts![0]!.mountPath, containers[0]!.volumeMounts![0]!.mountPath);
    assert.equal(containers[0]!.name, "$job");
  });
  await t.step("externals.yaml", async () => {
    const [runner] = (await readPod("externals.yaml")).containers;
    const env = new Map(runner!.env!.map(({ name, value }) => [name, value]));
    assert.equal(env.get("ACTIONS_RUNNER_IMAGE"), runner!.image);
    const dockerfile = await Deno.readTextFile(`${EXAMPLES}externals.Dockerfile`);
    const [, directory] = /^COPY --chmod=755 davit hook\.sh (.*)\/$/m.exec(dockerfile)!;
    assert.equal(env.get("ACTIONS_RUNNER_CONTAINER_HOOKS"), `${directory}/hook.sh`);
    assert.equal(carried, "/__e/davit"); // externals of the runner, as the job container sees them
    assert.match(
      await Deno.readTextFile(`${EXAMPLES}hook.sh`),
      new RegExp(`^exec ${directory}/davit hook wrap -- `, "m"),
    );
  });
});

Deno.test("examples/osdc: rpc-server.sh starts davit with all it was given, or says where it is missing", async () => {
  await using dir = await tempDir("osdc-examples");
  const script = await Deno.readTextFile(`${EXAMPLES}rpc-server.sh`);
  const [first, second] = await places();
  const moved = script.replaceAll(first!, dir.join("a/davit")).replaceAll(second!, dir.join("b/davit"));
  await Deno.writeTextFile(dir.join("rpc-server"), moved, { mode: 0o755 });
  const argv = [dir.join("rpc-server"), "--port", "0", "--token", "a b", "--daemonize"];

  const without = await run(argv);
  assert.equal(without.code, 127);
  assert.match(without.stderr, /^rpc-server: davit is neither at .*a\/davit nor at .*b\/davit\n$/);

  await Deno.mkdir(dir.join("b"));
  await Deno.writeTextFile(dir.join("b/davit"), '#!/bin/sh\nprintf "<%s>" "$@"\n', { mode: 0o755 });
  const { code, stdout } = await run(argv);
  assert.equal(code, 0);
  assert.equal(stdout, "<hook><serve><--compat><osdc><--port><0><--token><a b><--daemonize>");
});
