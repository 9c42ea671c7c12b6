/**
 * `deno run -A scripts/bench/container.ts [--rounds 3]`: what attach and `exec true` cost on 1 and 3 real ssh hosts with
 * podman and on 30 and 300 fake ones that are 200 ms away, against a plain loop over ssh in the same run: time,
 * connections, processes at once, memory. Prints a table; asserts nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { ContainerFacts, HostFacts } from "../../lib/container/facts.ts";
import { VERSION } from "../../lib/version.ts";
import { ended, startContainerHosts } from "../../testdata/container_hosts.ts";
import { hostNames, manyHosts } from "../../testdata/many_hosts.ts";
import { davitArgv, davitEnv, type LiveProcess, start } from "../../testdata/run.ts";
import { ensurePackages } from "../packages.ts";

const SAMPLE_MS = 25;
const DELAY_MS = 200;

/** One measurement; the fastest of the rounds. */
interface Row {
  readonly hosts: number;
  readonly what: string;
  readonly ms: number;
  readonly connections: number;
  readonly processes: number;
  readonly memoryMiB: number;
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Descendants of a process, by one look at /proc. */
function countDescendants(root: number): number {
  const parents = new Map<number, number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended.
    }
  }
  const isBelow = (pid: number | undefined): boolean =>
    pid === root || (pid ?? 0) > 1 && isBelow(parents.get(pid!));
  return [...parents.keys()].filter((pid) => pid !== root && isBelow(pid)).length;
}

async function watch(process: LiveProcess): Promise<{ ms: number; processes: number; memoryMiB: number }> {
  const begun = performance.now();
  let [processes, memoryMiB] = [0, 0];
  const timer = setInterval(() => {
    try {
      processes = Math.max(processes, countDescendants(process.pid));
      const status = Deno.readTextFileSync(`/proc/${process.pid}/status`);
      memoryMiB = Math.max(memoryMiB, Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      // It has ended.
    }
  }, SAMPLE_MS);
  try {
    const result = await process.done;
    if (result.code !== 0) throw new Error(`ended with ${result.code}: ${result.stderr}`);
    return { ms: performance.now() - begun, processes, memoryMiB };
  } finally {
    clearInterval(timer);
  }
}

async function best(
  rounds: number,
  launch: () => LiveProcess,
  connections: () => Promise<number>,
): Promise<Omit<Row, "hosts" | "what">> {
  let found: Omit<Row, "hosts" | "what"> | undefined;
  for (let round = 0; round < rounds; round++) {
    const before = await connections();
    const measured = await watch(launch());
    const row = { ...measured, connections: await connections() - before };
    if (found === undefined || row.ms < found.ms) found = row;
  }
  return found!;
}

async function real(count: number, rounds: number): Promise<Row[]> {
  const names = ["b1", "b2", "b3"].slice(0, count);
  await using hosts = await startContainerHosts({ runtime: "podman", fanOut: "ssh", names });
  const spec = await hosts.spec("bench");
  ended(await hosts.davit(["up", "-f", spec]), 0);
  const accepted = () =>
    Promise.resolve(
      names.reduce((sum, name) => sum + (hosts.ssh(name).log().match(/Accepted publickey/g)?.length ?? 0), 0),
    );
  const { hosts: { options } } = JSON.parse(await Deno.readTextFile(spec)) as {
    hosts: { options: string[] };
  };
  const loop = `for host in ${names.join(" ")}; do ssh ${
    options.join(" ")
  } "$host" podman exec bench true || exit; done`;
  return [
    {
      hosts: count,
      what: "attach",
      ...await best(rounds, () => hosts.start(["attach", "-f", spec]), accepted),
    },
    {
      hosts: count,
      what: "exec true",
      ...await best(rounds, () => hosts.start(["exec", "-f", spec, "--", "true"]), accepted),
    },
    { hosts: count, what: "ssh loop", ...await best(rounds, () => start(["sh", "-c", loop]), accepted) },
  ];
}

async function fake(count: number, rounds: number): Promise<Row[]> {
  const startedAt = "2026-01-01T00:00:01Z";
  const labels = {
    ...{ owner: "tester", name: "bench", generation: "g1", spec: "0".repeat(64), specJson: "{}" },
    ...{ imageDigest: "sha256:1", provision: "none", lifetime: "persistent", leaseMs: "none" },
  };
  const container: ContainerFacts = {
    ...{ id: "2".repeat(64), status: "running", exitCode: 0, createdAt: startedAt, startedAt, labels },
    ...{ imageId: "sha256:1", execs: 0 },
    ready: { generation: "g1", provision: "none", readyAt: startedAt, startedAt },
  };
  const facts: HostFacts = { kind: "known", container, image: null };
  await using many = await manyHosts({
    delayMs: DELAY_MS,
    answers: {
      hello: { result: { version: VERSION, hostname: "far" } },
      facts: { result: facts },
      lock: { result: { kind: "held" } },
      unlock: { result: null },
      exec: { result: { code: 0, signal: null, timedOut: false } },
    },
  });
  const hosts = hostNames(count).join(",");
  const env = davitEnv({ ...many.env, USER: "tester", DAVIT_CONTAINER_AGENT: "/usr/bin/davit" });
  const way = ["--name", "bench", "--fan-out", "ssh", "--hosts", hosts];
  const davit = (...args: string[]) => start(davitArgv(["container", ...args]), { env, timeoutMs: 600_000 });
  const opened = async () => (await many.connections()).opened;
  const loopEnv = { ...many.env, MANY_HOSTS_EXEC: `sleep ${DELAY_MS / 1000}` };
  const loop = `for host in ${hosts.replaceAll(",", " ")}; do ssh -- "$host" true || exit; done`;
  return [
    { hosts: count, what: "attach", ...await best(rounds, () => davit("attach", ...way), opened) },
    {
      hosts: count,
      what: "exec true",
      ...await best(rounds, () => davit("exec", ...way, "--", "true"), opened),
    },
    {
      hosts: count,
      what: "ssh loop",
      ...await best(1, () => start(["sh", "-c", loop], { env: loopEnv, timeoutMs: 600_000 }), opened),
    },
  ];
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" } } });
const rounds = Number(values.rounds);
await ensurePackages("test");
say(
  `load ${
    (await Deno.readTextFile("/proc/loadavg")).split(" ")[0]
  }; best of ${rounds}; 1 and 3 hosts are real`,
);
say("hosts  what        ms      ratio to the loop  connections  processes at once  memory MiB");
for (const [count, measure] of [[1, real], [3, real], [30, fake], [300, fake]] as const) {
  const rows = await measure(count, rounds);
  const loopMs = rows.at(-1)!.ms;
  for (const { hosts, what, ms, connections, processes, memoryMiB } of rows) {
    say([
      String(hosts).padEnd(6),
      what.padEnd(11),
      ms.toFixed(0).padStart(7),
      (ms / loopMs).toFixed(2).padStart(18),
      String(connections).padStart(12),
      String(processes).padStart(18),
      memoryMiB.toFixed(0).padStart(11),
    ].join(" "));
  }
}
