import assert from "node:assert/strict";
import { ENGINE_PROGRAMS, IMAGE } from "../../testdata/engines.ts";
import { needs } from "../../testdata/needs.ts";
import {
  HOST_PROGRAMS,
  type RuntimeHost,
  sampleSpec,
  startRuntimeHost,
} from "../../testdata/runtime_host.ts";
import { makeLabels } from "./labels.ts";
import { type Plan, type PlanOptions, planUp, type Refusal } from "./plan.ts";
import { renderPlan } from "./plan_text.ts";
import { canonicalSpec } from "./spec_hash.ts";
import type { ContainerSpec } from "./spec.ts";

const OWNER = "ann";

/** A ready container, made as `up` makes it. */
async function makeReady(host: RuntimeHost, spec: ContainerSpec): Promise<void> {
  const { name, image: reference } = spec;
  const of = { ...host.target, name };
  const { result: image } = await host.call("image", { ...of, image: reference, pull: "never" });
  const identity = { owner: OWNER, generation: "g1", imageDigest: image.digest };
  const labels = makeLabels(spec, await canonicalSpec(spec), identity);
  const { result: { id } } = await host.call("create", { ...of, spec, labels, image });
  const { result: { startedAt } } = await host.call("start", { ...of, id, timeoutMs: 60_000 });
  const mark = { generation: "g1", provision: "none", readyAt: startedAt, startedAt };
  await host.call("markReady", { ...of, id, mark });
}

for (const runtime of ["podman", "docker"] as const) {
  Deno.test({
    name: `plans of what a real ${runtime} has`,
    ...needs({ root: true, programs: [...ENGINE_PROGRAMS[runtime], ...HOST_PROGRAMS] }),
    async fn(t) {
      await using host = await startRuntimeHost(runtime);
      const spec = sampleSpec({ name: "box", runtime, env: { MODE: "one", API_TOKEN: "hunter1" } });
      async function plan(options: Partial<PlanOptions> = {}, wanted = spec): Promise<Plan | Refusal> {
        const { result: facts } = await host.call("facts", {
          ...host.target,
          name: "box",
          image: wanted.image,
        });
        return planUp({
          spec: wanted,
          canonical: await canonicalSpec(wanted),
          hosts: [{ host: "n1", facts }],
          options: { command: "up", owner: OWNER, ...options },
        });
      }
      async function must(...args: string[]): Promise<void> {
        const { code, stderr } = await host.cli(...args);
        assert.equal(code, 0, stderr);
      }
      async function stepOf(options?: Partial<PlanOptions>, wanted?: ContainerSpec) {
        const result = await plan(options, wanted);
        const [step] = result.kind === "plan" ? result.steps : [];
        return step === undefined
          ? (result as Refusal).code
          : "from" in step
          ? `${step.do} ${step.from}`
          : step.do;
      }
      async function attaches(): Promise<Plan> {
        const result = await plan();
        assert.ok(result.kind === "plan" && result.action === "attach", renderPlan(result));
        return result;
      }

      await t.step("absent", async () => assert.equal(await stepOf(), "create"));
      await makeReady(host, spec);
      await t.step("made: no difference and no warning", async () => {
        const { warnings, differences } = await attaches();
        assert.deepEqual([warnings, differences], [[], []]);
      });
      await t.step("another spec: field by field, secrets only by name", async () => {
        const other = { ...spec, env: { MODE: "two", API_TOKEN: "hunter2" }, shmSizeBytes: 1 << 30 };
        const text = renderPlan(await plan({}, other));
        assert.match(text, /^ {2}env\.MODE: "one" -> "two"$/m);
        assert.match(text, /^ {2}env\.API_TOKEN: \(not shown\) -> \(not shown\)$/m);
        assert.match(text, /^ {2}shmSizeBytes: not set -> 1073741824$/m);
        assert.ok(!text.includes("hunter"));
        assert.equal(await stepOf({ replace: true }, other), "replace");
        assert.equal(await stepOf({ drift: "warn" }, other), "attach");
      });
      await t.step("the tag moved: attach, with both digests", async () => {
        await must("commit", "box", "localhost/moved:1");
        await must("tag", IMAGE, "localhost/kept:1");
        await must("tag", "localhost/moved:1", IMAGE);
        const { warnings } = await attaches();
        assert.equal(warnings.length, 1);
        assert.match(
          warnings[0]!,
          /is sha256:[0-9a-f]{64} by now on n1, the container runs sha256:[0-9a-f]{64}$/,
        );
        await must("tag", "localhost/kept:1", IMAGE);
        assert.deepEqual((await attaches()).warnings, []);
      });
      await t.step("one that was made by hand from an image committed from ours is not ours", async () => {
        await must("rename", "box", "box2");
        await must("create", "--name=box", "--network=host", "localhost/moved:1", "sleep", "9");
        assert.deepEqual([await stepOf(), await stepOf({ replace: true })], ["foreign", "foreign"]);
        await must("rm", "box");
        await must("rename", "box2", "box");
        await attaches();
      });
      await t.step("paused, stopped", async () => {
        await must("pause", "box");
        assert.equal(await stepOf(), "start paused");
        await must("unpause", "box");
        await must("kill", "box");
        assert.equal(await stepOf(), "start stopped");
        assert.equal(await stepOf({ noStart: true }), "not_running");
        assert.equal(await stepOf({ command: "attach" }), "not_running");
      });
      await t.step("started by hand: what runs at each start is still to be run", async () => {
        await must("start", "box");
        await attaches();
        assert.equal(await stepOf({ drift: "warn" }, { ...spec, sshd: { port: 2224 } }), "start running");
      });
    },
  });
}
