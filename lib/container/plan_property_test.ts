import assert from "node:assert/strict";
import fc from "fast-check";
import {
  absentFacts,
  type FactsParts,
  hostsOf,
  IMAGES,
  makeFacts,
  makeSpec,
  OWNER,
} from "../../testdata/container_facts.ts";
import type { ContainerFacts, HostFacts, ImageFacts, UnknownWhy } from "./facts.ts";
import { type HostInput, type Plan, type PlanOptions, planUp, type Refusal } from "./plan.ts";
import { planDown } from "./plan_down.ts";
import { renderPlan } from "./plan_text.ts";
import { type CanonicalSpec, canonicalSpec } from "./spec_hash.ts";
import type { ContainerSpec } from "./spec.ts";

const STATUSES: ContainerFacts["status"][] = [
  "created",
  "running",
  "paused",
  "restarting",
  "removing",
  "exited",
  "dead",
];
const WHYS: UnknownWhy[] = ["unreachable", "sudo", "daemon", "timeout"];
const SPECS = await Promise.all(
  ["", "env: {A: b}", "sshd: true", "lifetime: per_run", "lifetime: no_launch"].map(async (text) => {
    const spec = await makeSpec(text);
    return { spec, canonical: await canonicalSpec(spec) };
  }),
);

interface Case {
  readonly spec: ContainerSpec;
  readonly canonical: CanonicalSpec;
  readonly hosts: readonly HostInput[];
  readonly options: PlanOptions;
}

/** What a host may say: all that can be told apart, the usual more often than the rest. */
const factsArbitrary: fc.Arbitrary<(spec: ContainerSpec) => Promise<HostFacts>> = fc.oneof(
  { weight: 6, arbitrary: container() },
  { weight: 2, arbitrary: fc.constantFrom(IMAGES[0], IMAGES[1], null).map((image) => () => absent(image)) },
  { weight: 1, arbitrary: fc.constantFrom(...WHYS).map((why) => () => unknown(why)) },
);

function container() {
  const usual = <T>(first: T, ...rest: T[]) =>
    fc.oneof({ weight: 5, arbitrary: fc.constant(first) }, {
      weight: 1,
      arbitrary: fc.constantFrom(...rest),
    });
  return fc.record({
    status: usual<ContainerFacts["status"]>("running", ...STATUSES),
    ready: usual<NonNullable<FactsParts["ready"]>>(true, false, "restarted", "of another generation"),
    labels: usual<NonNullable<FactsParts["labels"]>>(
      {},
      "none",
      { owner: "bob" },
      { name: "other" },
      { generation: "g2" },
      { imageDigest: IMAGES[1].digest },
      { lifetime: "per_run" },
      { spec: "0".repeat(64), specJson: '{"image":"y:9"}' },
    ),
    imageId: usual(IMAGES[0].id, IMAGES[1].id, ""),
    image: usual<ImageFacts | null>(IMAGES[0], IMAGES[1], null),
    id: fc.constantFrom("a".repeat(64), "b".repeat(64)),
    execs: usual(0, 3),
  }).map((parts) => (spec: ContainerSpec) => makeFacts(spec, parts as FactsParts));
}

async function absent(image: ImageFacts | null): Promise<HostFacts> {
  return await Promise.resolve(absentFacts(image));
}

async function unknown(why: UnknownWhy): Promise<HostFacts> {
  return await Promise.resolve({ kind: "unknown", why, detail: "x" });
}

const optionsArbitrary: fc.Arbitrary<PlanOptions> = fc.record(
  {
    command: fc.constantFrom("up", "run", "attach"),
    owner: fc.constant(OWNER),
    fill: fc.boolean(),
    replace: fc.boolean(),
    adopt: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
    noStart: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
    drift: fc.constantFrom("refuse", "warn", "skip"),
  } as const,
);

/** Runs `check` on many clusters of one to four hosts. */
async function forAll(check: (input: Case, plan: Plan | Refusal) => void | Promise<void>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(factsArbitrary, { minLength: 1, maxLength: 4 }),
      optionsArbitrary,
      fc.constantFrom(...SPECS),
      fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, fc.constantFrom(...SPECS)),
      async (facts, options, wanted, other) => {
        const made = (other ?? wanted).spec;
        const input = { ...wanted, options, hosts: hostsOf(await Promise.all(facts.map((of) => of(made)))) };
        await check(frozen(input), planUp(input));
      },
    ),
    { numRuns: 2_000 },
  );
}

function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(frozen);
  }
  return value;
}

function containerOf(input: Case, host: string): ContainerFacts | null {
  const facts = input.hosts.find((of) => of.host === host)!.facts;
  return facts.kind === "known" ? facts.container : null;
}

function isOwn(container: ContainerFacts | null): boolean {
  return container?.labels?.owner === OWNER && container.labels.name === "box";
}

Deno.test("unknown on any host: no action on any", async () => {
  let seen = 0;
  await forAll(({ hosts, options, spec }, plan) => {
    if (!hosts.some(({ facts }) => facts.kind === "unknown")) return;
    seen++;
    assert.equal(plan.kind, "refusal");
    const isUsage = options.command === "up" && spec.lifetime === "per_run";
    assert.equal((plan as Refusal).exit, isUsage ? "USAGE" : "UNKNOWN");
  });
  assert.ok(seen > 10, `${seen} cases had one`);
});

Deno.test("what is removed is ours, and was asked for; what joins does nothing but join", async () => {
  const actions = new Set<string>();
  await forAll((input, plan) => {
    if (plan.kind === "refusal") return void actions.add(plan.code);
    const { options, spec } = input;
    actions.add(plan.action);
    assert.deepEqual(plan.steps.map(({ host }) => host), input.hosts.map(({ host }) => host));
    const joins = options.command === "attach" || spec.lifetime === "no_launch" || options.adopt;
    for (const step of plan.steps) {
      const there = containerOf(input, step.host);
      if (joins) assert.equal(step.do, "attach");
      if (step.do === "create") assert.equal(there, null);
      else assert.equal(step.id, there!.id);
      if (step.do === "attach") assert.equal(step.isOurs, isOwn(there));
      if (step.do !== "create" && !joins) assert.ok(isOwn(there), JSON.stringify(step));
      if (step.do === "replace") {
        assert.equal(options.replace, true);
        assert.equal(step.generation, there!.labels!.generation);
        if (spec.lifetime === "per_run") assert.equal(there!.labels!.lifetime, "per_run");
      }
      if (step.do === "start" || step.do === "provision") {
        assert.equal(step.from === "running", there!.status === "running");
        if (options.noStart) assert.equal(step.from, "running");
      }
    }
    assert.doesNotThrow(() => renderPlan(plan));
  });
  // A property that met only refusals would hold of anything.
  const wanted = ["attach", "start", "create", "replace", "provision", "foreign", "drift"];
  for (const action of wanted) assert.ok(actions.has(action), action);
});

Deno.test("what stays after a plan is of one generation and one image", async () => {
  await forAll((input, plan) => {
    if (plan.kind === "refusal") return;
    const kept = plan.steps.flatMap((step) =>
      step.do === "create" || step.do === "replace" ? [] : [step.host]
    )
      .map((host) => containerOf(input, host)!).filter(isOwn);
    for (const { labels } of kept) assert.equal(labels!.generation, plan.generation);
    const made = plan.steps.some((step) => step.do === "create") && kept.length > 0;
    assert.equal(plan.wantedImage !== undefined, made);
    if (made) { for (const { labels } of kept) assert.equal(labels!.spec, input.canonical.hash); }
    for (const { imageId, labels } of kept) {
      assert.ok(imageId === kept[0]!.imageId || labels!.imageDigest === kept[0]!.labels!.imageDigest);
    }
  });
});

Deno.test("all running and equal: nothing changes, whatever the flags", async () => {
  await fc.assert(
    fc.asyncProperty(optionsArbitrary, fc.integer({ min: 1, max: 5 }), async (options, count) => {
      const { spec, canonical } = SPECS[0]!;
      const facts = await Promise.all(Array.from({ length: count }, () => makeFacts(spec)));
      const plan = planUp({ spec, canonical, hosts: hostsOf(facts), options });
      assert.equal(plan.kind, "plan");
      assert.ok((plan as Plan).steps.every((step) => step.do === "attach"));
      assert.deepEqual((plan as Plan).warnings, []);
    }),
  );
});

Deno.test("after a plan was carried out, the next one attaches and changes nothing", async () => {
  let count = 0;
  await forAll(async (input, plan) => {
    const { spec, options } = input;
    if (plan.kind === "refusal" || options.drift !== "refuse" || options.adopt) return;
    if (spec.lifetime !== "persistent" || options.command === "attach") return;
    const generation = plan.generation ?? "new";
    const hosts = await Promise.all(plan.steps.map(async (step, index): Promise<HostInput> => {
      const { host, facts } = input.hosts[index]!;
      const isNew = step.do === "create" || step.do === "replace";
      if (isNew) {
        const image = plan.wantedImage ?? IMAGES[0];
        const labels = { generation, imageDigest: image.digest };
        return { host, facts: await makeFacts(spec, { labels, image, imageId: image.id }) };
      }
      if (facts.kind !== "known" || facts.container === null) return assert.fail();
      if (step.do === "attach") return { host, facts };
      const startedAt = "2026-02-02T00:00:00Z";
      const ready = {
        generation,
        provision: facts.container.labels!.provision,
        readyAt: startedAt,
        startedAt,
      };
      return {
        host,
        facts: { ...facts, container: { ...facts.container, status: "running", startedAt, ready } },
      };
    }));
    const next = planUp({ ...input, hosts, options: { ...options, command: "up" } });
    assert.equal(next.kind, "plan", renderPlan(next));
    assert.ok((next as Plan).steps.every((step) => step.do === "attach"), renderPlan(next));
    count++;
  });
  assert.ok(count > 10, `${count} plans were carried out`);
});

Deno.test("down takes what is ours by its id and generation, or nothing at all", async () => {
  await forAll((input) => {
    const { spec, hosts } = input;
    const plan = planDown({ spec, hosts, options: { owner: OWNER } });
    const isClean = spec.lifetime !== "no_launch" &&
      hosts.every(({ facts }) =>
        facts.kind === "known" && (facts.container === null || isOwn(facts.container))
      );
    assert.equal(plan.kind, isClean ? "plan" : "refusal");
    if (plan.kind !== "plan") return;
    for (const step of plan.steps) {
      const there = containerOf(input, step.host);
      if (step.do === "nothing") assert.equal(there, null);
      else assert.deepEqual([step.id, step.generation], [there!.id, there!.labels!.generation]);
    }
  });
});
