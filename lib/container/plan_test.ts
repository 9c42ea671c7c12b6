import assert from "node:assert/strict";
import {
  absentFacts,
  type FactsParts,
  GENERATION,
  hostsOf,
  IMAGES,
  makeFacts,
  makeSpec,
  OWNER,
} from "../../testdata/container_facts.ts";
import type { HostFacts, UnknownWhy } from "./facts.ts";
import { checkDigests, type Plan, type PlanOptions, planUp, type Refusal, refuse } from "./plan.ts";
import { planDown } from "./plan_down.ts";
import { renderPlan } from "./plan_text.ts";
import { canonicalSpec } from "./spec_hash.ts";
import type { ContainerSpec } from "./spec.ts";

const ONE = IMAGES[0];
const TWO = IMAGES[1];
const MOVED: FactsParts = { image: TWO };
const OTHER_IMAGE: FactsParts = { imageId: TWO.id, labels: { imageDigest: TWO.digest } };
const STOPPED: FactsParts = { status: "exited", exitCode: 137 };
const PAUSED: FactsParts = { status: "paused" };
const FOREIGN: FactsParts = { labels: "none" };

type Parts = FactsParts | "absent" | UnknownWhy;

async function factsOf(parts: Parts, spec: ContainerSpec): Promise<HostFacts> {
  if (parts === "absent") return absentFacts();
  if (typeof parts === "string") return { kind: "unknown", why: parts, detail: `words of ${parts}` };
  return await makeFacts(spec, parts);
}

/** Plans for hosts n1, n2, … whose containers were made from `spec` (or from `made`). */
async function planFor(
  hosts: readonly Parts[],
  options: Partial<PlanOptions> & { spec?: string; made?: string } = {},
): Promise<Plan | Refusal> {
  const { spec: text = "", made = text, ...rest } = options;
  const [spec, maker] = await Promise.all([text, made].map(makeSpec));
  const facts = await Promise.all(hosts.map((parts) => factsOf(parts, maker!)));
  return planUp({
    spec: spec!,
    canonical: await canonicalSpec(spec!),
    hosts: hostsOf(facts),
    options: { command: "up", owner: OWNER, ...rest },
  });
}

async function planned(...args: Parameters<typeof planFor>): Promise<Plan> {
  const plan = await planFor(...args);
  assert.equal(plan.kind, "plan", renderPlan(plan));
  return plan as Plan;
}

async function refused(code: string, ...args: Parameters<typeof planFor>): Promise<Refusal> {
  const plan = await planFor(...args);
  assert.equal(plan.kind, "refusal", renderPlan(plan));
  assert.equal((plan as Refusal).code, code, renderPlan(plan));
  return plan as Refusal;
}

function stepsOf({ steps }: Plan): string[] {
  return steps.map((step) => [step.host, step.do, "from" in step ? step.from : ""].filter(Boolean).join(" "));
}

Deno.test("up: the table", async (t) => {
  const rows: [
    string,
    Parts[],
    Plan["action"],
    string[],
    (Partial<PlanOptions> & { spec?: string; made?: string })?,
  ][] = [
    ["all run: nothing changes", [{}, {}], "attach", ["n1 attach", "n2 attach"]],
    ["all stopped: started", [STOPPED, STOPPED], "start", ["n1 start stopped", "n2 start stopped"]],
    ["all paused: unpaused", [PAUSED, PAUSED], "start", ["n1 start paused", "n2 start paused"]],
    ["one stopped: only that is started", [{}, STOPPED], "start", ["n1 attach", "n2 start stopped"]],
    ["never started, but ready", [{ status: "created" }], "start", ["n1 start stopped"]],
    ["all absent: created", ["absent", "absent"], "create", ["n1 create", "n2 create"]],
    ["some absent, --fill", [{}, "absent"], "fill", ["n1 attach", "n2 create"], { fill: true }],
    ["some absent, one stopped, --fill", [STOPPED, "absent"], "fill", ["n1 start stopped", "n2 create"], {
      fill: true,
    }],
    ["not ready: provisioned again", [{ ready: false }, {}], "provision", [
      "n1 provision running",
      "n2 attach",
    ]],
    ["not ready and stopped", [{ ready: false, ...STOPPED }], "provision", ["n1 provision stopped"]],
    ["not ready, never started", [{ ready: false, status: "created" }], "provision", [
      "n1 provision stopped",
    ]],
    ["a mark that came with the image", [{ ready: "of another generation" }], "provision", [
      "n1 provision running",
    ]],
    ["a dead up: completed", [{ ready: false }, "absent"], "resume", ["n1 provision running", "n2 create"]],
    ["tag moved: attached", [MOVED, MOVED], "attach", ["n1 attach", "n2 attach"]],
    ["drift, --ignore-drift", [{}, {}], "attach", ["n1 attach", "n2 attach"], {
      made: "env: {A: b}",
      drift: "warn",
    }],
    ["drift, --replace", [{}, STOPPED], "replace", ["n1 replace", "n2 replace"], {
      made: "env: {A: b}",
      replace: true,
    }],
    ["drift where nothing is known of the spec", [{}], "attach", ["n1 attach"], {
      made: "env: {A: b}",
      drift: "skip",
    }],
    ["all run, --replace: nothing to replace", [{}, {}], "attach", ["n1 attach", "n2 attach"], {
      replace: true,
    }],
    ["digests differ, --replace", [{}, OTHER_IMAGE], "replace", ["n1 replace", "n2 replace"], {
      replace: true,
    }],
    ["dead, --replace", [{ status: "dead" }, "absent"], "replace", ["n1 replace", "n2 create"], {
      replace: true,
    }],
    ["restarted by other hands", [{ ready: "restarted" }], "start", ["n1 start running"], {
      spec: "sshd: true",
    }],
    ["the same, with nothing to do at a start", [{ ready: "restarted" }], "attach", ["n1 attach"]],
    ["one image under a digest and an id", [{}, { labels: { imageDigest: ONE.id } }], "attach", [
      "n1 attach",
      "n2 attach",
    ]],
  ];
  for (const [what, hosts, action, steps, options] of rows) {
    await t.step(what, async () => {
      const plan = await planned(hosts, options);
      assert.equal(plan.action, action);
      assert.deepEqual(stepsOf(plan), steps);
      const isNew = action === "create" || action === "replace";
      assert.equal(plan.generation, isNew ? undefined : GENERATION);
      assert.deepEqual(plan.wantedImage, action === "fill" || action === "resume" ? ONE_IMAGE : undefined);
    });
  }
});

const ONE_IMAGE = { id: ONE.id, digest: ONE.digest };

Deno.test("up: what is refused, and with which words", async (t) => {
  const rows: [
    string,
    string,
    Parts[],
    RegExp,
    (Partial<PlanOptions> & { spec?: string; made?: string })?,
  ][] = [
    ["some absent", "some_absent", [{}, "absent", {}], /absent on n2 while n1, n3 have it/],
    ["some absent, even with --replace", "some_absent", [{}, "absent"], /absent on n2/, { replace: true }],
    ["some absent, one stopped", "some_absent", [STOPPED, "absent"], /absent on n2/],
    ["--fill with drift", "drift", [{}, "absent"], /made from another spec/, {
      fill: true,
      made: "env: {A: b}",
    }],
    ["--fill with accepted drift", "drift", [{}, "absent"], /./, {
      fill: true,
      drift: "warn",
      made: "env: {A: b}",
    }],
    ["drift", "drift", [{}, {}], /made from another spec/, { made: "env: {A: b}\nshm_size: 1G" }],
    [
      "digests differ",
      "digests_differ",
      [{}, OTHER_IMAGE],
      /n1 has sha256:digest-one; n2 has sha256:digest-two/,
    ],
    [
      "a digest that cannot be read",
      "digest_unreadable",
      [{}, { imageId: "", labels: { imageDigest: "" } }],
      /read on n2/,
    ],
    [
      "generations differ",
      "generations_differ",
      [{}, { labels: { generation: "g2" } }],
      /different calls: n1 \| n2/,
    ],
    [
      "--fill with generations that differ",
      "generations_differ",
      [{}, { labels: { generation: "g2" } }, "absent"],
      /./,
      { fill: true },
    ],
    ["foreign", "foreign", [{}, FOREIGN], /not yours: running, not made by davit on n2/],
    ["foreign, --replace", "foreign", [FOREIGN], /not yours/, { replace: true }],
    ["foreign and stopped", "foreign", [{ ...FOREIGN, ...STOPPED }], /exited, not made by davit/],
    ["another owner's", "foreign", [{ labels: { owner: "bob" } }], /made by davit for bob/],
    ["renamed", "foreign", [{ labels: { name: "old" } }], /not made by davit/],
    ["not ready, other script", "provision_changed", [{ ready: false }], /setup script is another/, {
      spec: "sshd: true",
      made: "",
    }],
    ["dead", "dead", [{ status: "dead" }, {}], /dead on n1/],
    ["restarting in vain", "dead", [{ status: "restarting" }], /restarting on n1/],
    ["being removed", "dead", [{ status: "removing" }], /removing on n1/],
    ["--no-start", "not_running", [{}, STOPPED], /does not run on n2, and --no-start/, { noStart: true }],
    ["per_run and up", "per_run", ["absent"], /lifetime is per_run/, { spec: "lifetime: per_run" }],
  ];
  for (const [what, code, hosts, pattern, options] of rows) {
    await t.step(what, async () => {
      const plan = await refused(code, hosts, options);
      assert.equal(plan.exit, code === "per_run" ? "USAGE" : "REFUSED");
      assert.match(plan.message, pattern);
      assert.equal(plan.hosts.length, hosts.length);
      assert.ok(plan.hint.length > 10);
    });
  }
  await t.step("drift is told field by field", async () => {
    const plan = await refused("drift", [{}, {}], {
      spec: "env: {A: new}",
      made: "env: {A: old}\nshm_size: 1G",
    });
    assert.deepEqual(plan.differences, [
      { field: "env.A", was: '"old"', is: '"new"' },
      { field: "shmSizeBytes", was: "1073741824", is: undefined },
    ]);
    const { message, exitStatus, code } = refuse(plan);
    assert.deepEqual([exitStatus, code], [3, "drift"]);
    assert.match(message, /env\.A: "old" -> "new"; shmSizeBytes: 1073741824 -> not set/);
    assert.match(renderPlan(plan), /^ {2}env\.A: "old" -> "new"$/m);
  });
  await t.step("an image that is not the same everywhere before anything is made", async () => {
    const spec = await makeSpec();
    const hosts = hostsOf([absentFacts(ONE), absentFacts(TWO), absentFacts(null)]);
    const input = {
      canonical: await canonicalSpec(spec),
      hosts,
      options: { command: "up", owner: OWNER },
    } as const;
    const plan = planUp({ ...input, spec }) as Refusal;
    assert.equal(plan.code, "digests_differ");
    assert.match(plan.message, /n1 has sha256:digest-one; n2 has sha256:digest-two/);
    assert.equal(planUp({ ...input, spec: { ...spec, pull: "always" } }).kind, "plan");
    const never = planUp({ ...input, hosts: hosts.slice(1), spec: { ...spec, pull: "never" } }) as Refusal;
    assert.equal(never.code, "image_missing");
    assert.match(never.message, /missing on n3/);
  });
});

Deno.test("unknown: nothing is done, and each cause has its own words and mending", async (t) => {
  const whys: UnknownWhy[] = [
    "unreachable",
    "login_refused",
    "sudo",
    "runtime_missing",
    "daemon",
    "permission",
    "timeout",
    "agent",
    "protocol",
  ];
  const told = new Set<string>();
  const hints = new Set<string>();
  for (const why of whys) {
    const plan = await refused(why, [{}, why, "absent"]);
    assert.equal(refuse(plan).exitStatus, 4);
    assert.match(
      plan.message,
      new RegExp(`on 1 of 3 hosts: n2: .* \\(words of ${why}\\); nothing was touched$`),
    );
    told.add(plan.message.replace(/\(.*/, ""));
    hints.add(plan.hint);
  }
  assert.deepEqual([told.size, hints.size], [whys.length, whys.length]);
  await t.step("several causes, apart", async () => {
    const plan = await refused("unknown", ["sudo", "daemon", "sudo", {}], { replace: true, fill: true });
    assert.match(plan.message, /n1, n3: sudo refuses .*; n2: the runtime's daemon does not answer/);
  });
  await t.step("whatever is asked for", async () => {
    for (const command of ["up", "run", "attach"] as const) {
      for (const flags of [{ adopt: true }, { replace: true }, { fill: true }, { drift: "warn" }] as const) {
        await refused("unreachable", [{}, "unreachable"], { command, ...flags });
      }
    }
  });
});

Deno.test("run: a container of its own, never one that is there; persistent is as up, no_launch joins", async () => {
  const run = { command: "run", spec: "lifetime: per_run" } as const;
  assert.equal((await planned(["absent", "absent"], run)).action, "create");
  const persistent = await refused("persistent", [{}, {}], { ...run, made: "lifetime: persistent" });
  assert.match(persistent.message, /it is persistent on n1, n2, and per_run would remove it/);
  await refused("persistent", [{}], { ...run, made: "lifetime: persistent", replace: true });
  await refused("exists", [{}, "absent"], run);
  await refused("exists", [STOPPED], run);
  await refused("foreign", [FOREIGN], { ...run, replace: true });
  assert.deepEqual(stepsOf(await planned([STOPPED, "absent"], { ...run, replace: true })), [
    "n1 replace",
    "n2 create",
  ]);
  assert.equal((await planned([{}, STOPPED], { command: "run" })).action, "start");
  assert.equal((await planned([FOREIGN], { command: "run", spec: "lifetime: no_launch" })).action, "attach");
});

Deno.test("attach and no_launch join what runs and do nothing else", async (t) => {
  const joins = [
    { command: "attach" },
    { command: "up", spec: "lifetime: no_launch" },
    { command: "run", spec: "lifetime: no_launch" },
  ] as const;
  for (const options of joins) {
    await t.step(JSON.stringify(options), async () => {
      assert.deepEqual(stepsOf(await planned([{}, {}], options)), ["n1 attach", "n2 attach"]);
      for (const parts of ["absent", STOPPED, PAUSED, { ready: false }, { status: "dead" }] as const) {
        const plan = await refused("not_running", [{}, parts], { ...options, replace: true, fill: true });
        assert.equal(plan.exit, "REFUSED");
        assert.match(plan.message, /Cannot attach to "box": it is .* on n2/);
      }
      await refused("generations_differ", [{}, { labels: { generation: "g2" } }], options);
      await refused("digests_differ", [{}, OTHER_IMAGE], options);
      await refused("digest_unreadable", [{ imageId: "", labels: { imageDigest: "" } }], options);
    });
  }
  await t.step("foreign ones by name only with no_launch or --adopt, and only running ones", async () => {
    await refused("foreign", [FOREIGN], { command: "attach" });
    for (
      const options of [joins[1], { command: "attach", adopt: true }, { command: "up", adopt: true }] as const
    ) {
      const plan = await planned([FOREIGN, { labels: { owner: "bob" } }], options);
      assert.ok(plan.steps.every((step) => step.do === "attach" && !step.isOurs));
      assert.match(plan.warnings.join(), /not made by davit on n1, n2/);
      await refused("not_running", [{ ...FOREIGN, ...STOPPED }], options);
      await refused("not_running", ["absent"], options);
    }
  });
  await t.step("drift refuses, or warns", async () => {
    const made = "env: {A: b}";
    await refused("drift", [{}], { command: "attach", made });
    assert.match((await planned([{}], { command: "attach", made, drift: "warn" })).warnings.join(), /env\.A/);
    assert.deepEqual((await planned([{}], { command: "attach", made, drift: "skip" })).warnings, []);
    // Made by a persistent spec: that no_launch joins it is no drift.
    const joined = await planned([{}], { spec: "lifetime: no_launch", made: "lifetime: persistent" });
    assert.deepEqual([joined.warnings, joined.differences], [[], []]);
    const other = await planned([{}], { spec: "lifetime: no_launch\nimage: y:2", made: "" });
    assert.match(other.warnings.join(), /made from another spec: image/);
  });
  await t.step("a start by other hands is said", async () => {
    const plan = await planned([{ ready: "restarted" }], { command: "attach", spec: "sshd: true" });
    assert.match(plan.warnings.join(), /started by other hands on n1/);
  });
});

Deno.test("a tag that moved is told with both digests, host by host", async () => {
  const plan = await planned([MOVED, {}, MOVED, { image: null }]);
  assert.deepEqual(plan.warnings, [
    "x:1 is sha256:digest-two by now on n1, n3, the container runs sha256:digest-one",
  ]);
});

Deno.test("images of new containers: the same everywhere, and the one of those that run", () => {
  const same = new Map([["n1", ONE], ["n2", { ...ONE, digest: ONE.id }]]);
  assert.equal(checkDigests("box", same), undefined);
  assert.equal(checkDigests("box", same, ONE), undefined);
  assert.match(
    checkDigests("box", same, TWO)!.message,
    /made from sha256:digest-two, but n1, n2 have sha256:digest-one/,
  );
  const apart = checkDigests("box", new Map([["n1", ONE], ["n2", TWO]]))!;
  assert.deepEqual([apart.code, refuse(apart).exitStatus], ["digests_differ", 3]);
  assert.ok(checkDigests("box", new Map([["n1", { id: "", digest: "" }]])) !== undefined);
  const halves = new Map([["n1", { id: "", digest: "a" }], ["n2", { id: "", digest: "b" }]]);
  assert.ok(checkDigests("box", halves) !== undefined, "that neither has an id does not make them one image");
});

Deno.test("down removes what is ours, by id and generation, and nothing else", async (t) => {
  async function down(hosts: readonly Parts[], options = {}, text = "") {
    const spec = await makeSpec(text);
    const facts = await Promise.all(hosts.map((parts) => factsOf(parts, spec)));
    return planDown({ spec, hosts: hostsOf(facts), options: { owner: OWNER, ...options } });
  }
  const id = "c".repeat(64);
  await t.step("whatever its state and generation", async () => {
    const plan = await down([{}, STOPPED, "absent", { labels: { generation: "g2" }, ready: false }, {
      status: "dead",
    }]);
    assert.deepEqual(plan.kind === "plan" && plan.steps, [
      { host: "n1", do: "remove", id, generation: GENERATION },
      { host: "n2", do: "remove", id, generation: GENERATION },
      { host: "n3", do: "nothing", why: "absent" },
      { host: "n4", do: "remove", id, generation: "g2" },
      { host: "n5", do: "remove", id, generation: GENERATION },
    ]);
  });
  await t.step("--stop", async () => {
    const plan = await down([{}, STOPPED, PAUSED], { stop: true });
    assert.deepEqual(plan.kind === "plan" && plan.steps.map((step) => step.do), ["stop", "nothing", "stop"]);
  });
  await t.step("not what is foreign, unknown or no_launch", async () => {
    for (const parts of [FOREIGN, { labels: { owner: "bob" } }]) {
      const plan = await down([{}, parts]);
      assert.deepEqual(plan.kind === "refusal" && [plan.code, plan.exit], ["foreign", "REFUSED"]);
    }
    const unknown = await down([{}, "daemon"]);
    assert.deepEqual(unknown.kind === "refusal" && [unknown.code, unknown.exit], ["daemon", "UNKNOWN"]);
    const rest = await down([{}, "daemon"], { allowUnknown: true });
    assert.deepEqual(rest.kind === "plan" && [rest.steps.length, rest.unknown], [1, ["n2"]]);
    const joined = await down([{}], {}, "lifetime: no_launch");
    assert.deepEqual(joined.kind === "refusal" && [joined.code, joined.exit], ["no_launch", "USAGE"]);
  });
});

Deno.test("as text: one line per group, never a control character of others, 300 hosts in a line", async () => {
  const many = await planned(Array.from({ length: 300 }, () => STOPPED));
  const lines = renderPlan(many).split("\n");
  assert.equal(lines[0], "box: start; what was installed in it is kept");
  assert.match(lines[1]!, /^ {2}start: n1 \(c{12}\), .*, n8 \(c{12}\) and 292 more$/);
  const spec = await makeSpec();
  const hosts = [{ host: "n1", facts: { kind: "unknown", why: "daemon", detail: "\u001b[2J\nx" } }] as const;
  const text = renderPlan(
    planUp({ spec, canonical: await canonicalSpec(spec), hosts, options: { command: "up", owner: OWNER } }),
  );
  assert.ok(!text.includes("\u001b"), text);
});
