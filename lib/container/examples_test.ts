import assert from "node:assert/strict";
import { davit } from "../../testdata/run.ts";
import { loadSpec } from "./spec_load.ts";

const EXAMPLES = new URL("../../examples/container/", import.meta.url).pathname;
const WANTED = {
  "amd_multi_node.yaml": {
    name: "train",
    lifetime: "persistent",
    kind: "ssh",
    hosts: 4,
    gpus: "amd",
    port: 2224,
  },
  "nvidia_single_host.yaml": { name: "lab", lifetime: "persistent", kind: "local", hosts: 1, gpus: "nvidia" },
  "slurm.yaml": { lifetime: "per_run", kind: "slurm", hosts: 0, gpus: "auto" },
} as const;

Deno.test("examples/container: each spec is one that davit takes, and says what it shows", async (t) => {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(EXAMPLES)) if (name.endsWith(".yaml")) names.push(name);
  assert.deepEqual(names.sort(), Object.keys(WANTED).sort());
  for (const [name, wanted] of Object.entries(WANTED)) {
    await t.step(name, async () => {
      const options = { needs: "create", user: "ann", home: "/home/ann", cwd: "/" } as const;
      const { spec } = await loadSpec({ ...options, file: `${EXAMPLES}${name}` });
      assert.deepEqual({
        ..."name" in wanted && { name: spec.name },
        lifetime: spec.lifetime,
        kind: spec.fanOut.kind,
        hosts: spec.hosts.length,
        gpus: spec.gpus,
        ...spec.sshd,
      }, wanted);
    });
  }
});

Deno.test("examples/container: the commands in their comments are davit's", async () => {
  const helps = new Map<string, string>();
  for (const command of ["", "up", "exec", "down", "run"]) {
    helps.set(command, (await davit(["container", ...command === "" ? [] : [command], "--help"])).stdout);
  }
  for (const name of Object.keys(WANTED)) {
    const text = await Deno.readTextFile(`${EXAMPLES}${name}`);
    const lines = [...text.matchAll(/davit container (\w+) ([^\n']*)/g)];
    assert.ok(lines.length > 0, name);
    for (const [line, command, rest = ""] of lines) {
      assert.match(helps.get("")!, new RegExp(`^  ${command}\\b`, "m"), line);
      const help = helps.get(command!)!;
      for (const [flag] of rest.split(" -- ")[0]!.matchAll(/--[a-z][a-z-]*/g)) {
        assert.ok(help.includes(flag), line);
      }
      assert.match(rest, new RegExp(`-f ${name.replace(".", "\\.")}`), line);
    }
  }
});
