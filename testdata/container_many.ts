/**
 * Many hosts, each 200 ms away, of which one never answers and one complains although all is well: every command
 * comes to its end, with so many connections at once and no more, in so much memory.
 *
 * @module
 */
import assert from "node:assert/strict";
import { hostNames, type ManyHosts, manyHosts } from "./many_hosts.ts";
import { davitArgv, type RunResult, startDavit } from "./run.ts";
import { tempDir } from "./temp.ts";
import { VERSION } from "../lib/version.ts";
import type { ContainerFacts, HostFacts } from "../lib/container/facts.ts";

const PARALLEL = 32;
/** Of a davit with 300 hosts; idle it has 60 MB. */
const MEMORY_BOUND_KIB = 400 << 10;

const IMAGE = { id: `sha256:${"1".repeat(64)}`, digest: `sha256:${"2".repeat(64)}` };
const CONTAINER: ContainerFacts = {
  id: "3".repeat(64),
  status: "running",
  exitCode: 0,
  createdAt: "2026-01-01T00:00:00Z",
  startedAt: "2026-01-01T00:00:01Z",
  imageId: IMAGE.id,
  execs: 0,
  labels: {
    owner: "tester",
    name: "big",
    generation: "g1",
    spec: "0".repeat(64),
    specJson: "{}",
    imageDigest: IMAGE.digest,
    provision: "none",
    lifetime: "persistent",
    leaseMs: "none",
  },
  ready: {
    generation: "g1",
    provision: "none",
    readyAt: "2026-01-01T00:00:02Z",
    startedAt: "2026-01-01T00:00:01Z",
  },
};

function answersOf(container: ContainerFacts | null) {
  const facts: HostFacts = { kind: "known", container, image: IMAGE };
  return {
    hello: { result: { version: VERSION, hostname: "far" } },
    facts: { result: facts },
    lock: { result: { kind: "held" } },
    unlock: { result: null },
    image: { result: IMAGE },
    create: { result: { id: CONTAINER.id } },
    start: { result: CONTAINER },
    markReady: { result: null },
    exec: { result: { code: 0, signal: null, timedOut: false }, text: "done there" },
  };
}

async function davitOn(many: ManyHosts, args: readonly string[]): Promise<RunResult & { peakKiB: number }> {
  const env = {
    ...many.env,
    USER: "tester",
    DAVIT_CONTAINER_AGENT: "/usr/bin/davit",
    DAVIT_CONTAINER_PARALLEL: "32",
  };
  await using davit = startDavit(["container", ...args], { env, timeoutMs: 300_000 });
  let peakKiB = 0;
  const timer = setInterval(() => {
    try {
      const status = Deno.readTextFileSync(`/proc/${davit.pid}/status`);
      peakKiB = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? peakKiB);
    } catch {
      // It has ended.
    }
  }, 50);
  try {
    return { ...await davit.done, peakKiB };
  } finally {
    clearInterval(timer);
  }
}

/** Plan, attach and exec on `count` hosts. */
export async function useManyHosts(t: Deno.TestContext, count: number): Promise<void> {
  const good = hostNames(count);
  const odd = good.with(count >> 1, "hang").with(3, "lie");
  const onHosts = (hosts: readonly string[]) => ["--fan-out", "ssh", "--hosts", hosts.join(",")];

  await t.step("plan", async () => {
    await using many = await manyHosts({ answers: answersOf(null) });
    const spec = ["--name", "big", "--image", "a/b:1", "--lifetime", "persistent"];
    const fine = await davitOn(many, ["plan", ...spec, ...onHosts(good), "--json"]);
    assert.equal(fine.code, 0, fine.stderr);
    const { opened, peak, open } = await many.connections();
    assert.deepEqual([opened, open], [count, 0]);
    assert.ok(peak <= PARALLEL, `${peak} at once`);
    assert.ok(fine.peakKiB < MEMORY_BOUND_KIB, `${fine.peakKiB} KiB`);
    const refused = await davitOn(many, ["plan", ...spec, ...onHosts(odd), "--host-timeout", "15s"]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stdout, /1 of \d+ hosts: hang: /);
  });

  await t.step("up: one connection to look, one that holds the lock to the end", async () => {
    await using many = await manyHosts({ answers: answersOf(null) });
    const spec = ["--name", "big", "--image", "a/b:1", "--lifetime", "persistent"];
    const { code, stderr } = await davitOn(many, ["up", ...spec, ...onHosts(good)]);
    assert.equal(code, 0, stderr);
    const { opened, peak, open } = await many.connections();
    assert.deepEqual([opened, peak, open], [2 * count, count, 0]);
  });

  await t.step("attach and exec", async () => {
    await using many = await manyHosts({ answers: answersOf(CONTAINER) });
    const name = ["--name", "big"];
    const attached = await davitOn(many, ["attach", ...name, ...onHosts(good), "--json"]);
    assert.equal(attached.code, 0, attached.stderr);
    assert.equal(JSON.parse(attached.stdout).hosts.length, count);
    const before = (await many.connections()).opened;
    const some = ["--host-timeout", "15s", "--allow-missing", "1"];
    const done = await davitOn(many, ["exec", ...name, ...onHosts(odd), ...some, "--", "true"]);
    assert.equal(done.code, 0, done.stderr);
    const lines = done.stdout.trimEnd().split("\n");
    assert.equal(lines.length, count - 1);
    assert.ok(lines.every((line) => line.endsWith("  done there")), done.stdout);
    const { opened, peak, open } = await many.connections();
    // One to ask, one to run.
    assert.equal(opened - before, 2 * count - 1);
    assert.equal(open, 0);
    assert.ok(peak <= PARALLEL, `${peak} at once`);
    assert.ok(done.peakKiB < MEMORY_BOUND_KIB, `${done.peakKiB} KiB`);
  });
}

/** What each host runs: a real agent, over a docker that takes 200 ms, hangs on one and warns on another. */
function agentLine(): string {
  const docker = decodeURIComponent(new URL("./bin/slow_docker", import.meta.url).pathname);
  const agent = davitArgv(["container", "agent"]).map((word) => `'${word}'`).join(" ");
  return `PATH=${docker}:$PATH exec ${agent}`;
}

/** Plan on `count` hosts with a real agent each. */
export async function planWithAgents(count: number): Promise<void> {
  await using many = await manyHosts({ exec: agentLine() });
  const odd = hostNames(count).with(count >> 1, "hang").with(3, "lie").join(",");
  const spec = ["--name", "big", "--image", "a/b:1", "--lifetime", "persistent", "--sudo", "never"];
  const args = ["plan", ...spec, "--fan-out", "ssh", "--hosts", odd, "--host-timeout", "60s"];
  const { code, stdout, stderr, peakKiB } = await davitOn(many, args);
  assert.equal(code, 4, stderr);
  assert.match(stdout, /1 of \d+ hosts: hang: /);
  const { opened } = await many.connections();
  assert.equal(opened, count);

  assert.ok(peakKiB < MEMORY_BOUND_KIB, `${peakKiB} KiB`);
}

/** Exec on `count` hosts with a real agent each. */
export async function execWithAgents(count: number): Promise<void> {
  await using locks = await tempDir("many-locks");
  await using many = await manyHosts({ exec: `DAVIT_CONTAINER_LOCK_DIR=${locks.path} ${agentLine()}` });
  const odd = hostNames(count).with(count >> 1, "hang").with(3, "lie").join(",");
  const how = ["--fan-out", "ssh", "--hosts", odd, "--host-timeout", "60s", "--allow-missing", "1"];
  const args = ["exec", "--name", "there", "--adopt", "--sudo", "never", ...how, "--", "true"];
  const { code, stdout, stderr, peakKiB } = await davitOn(many, args);
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.length, count - 1, stdout);
  assert.ok(lines.every((line) => line.endsWith("  done there")), stdout);
  assert.ok(peakKiB < MEMORY_BOUND_KIB, `${peakKiB} KiB`);
}
