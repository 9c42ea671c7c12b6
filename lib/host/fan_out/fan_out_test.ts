import assert from "node:assert/strict";
import { hostNames, MANY_HOSTS_PROGRAMS, manyHosts } from "../../../testdata/many_hosts.ts";
import { needs } from "../../../testdata/needs.ts";
import { silent } from "../log.ts";
import { fanOut, type Outcome } from "./fan_out.ts";
import { openConnector } from "./open_connector.ts";

const signal = new AbortController().signal;

Deno.test("results are in the order of the hosts, callbacks in the order of the ends, so many at once", async () => {
  const gates = new Map(hostNames(100).map((host) => [host, Promise.withResolvers<void>()]));
  let now = 0;
  let peak = 0;
  const settled: string[] = [];
  const outcomes = fanOut([...gates.keys()], async (host) => {
    peak = Math.max(peak, ++now);
    await gates.get(host)!.promise;
    now--;
    if (host === "host007") throw new Error("broken");
    return host.toUpperCase();
  }, { signal, parallelism: 10, onSettled: ({ host }) => settled.push(host) });
  // The tenth first: it must not wait for the ones before it.
  for (const host of ["host010", ...gates.keys()]) {
    gates.get(host)!.resolve();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const kinds = (await outcomes).map((outcome) => outcome.kind === "done" ? outcome.value : outcome.error);
  assert.deepEqual(
    kinds,
    hostNames(100).map((host) => host === "host007" ? new Error("broken") : host.toUpperCase()),
  );
  assert.equal(peak, 10);
  assert.equal(settled[0], "host010");
  assert.deepEqual([...settled].sort(), hostNames(100));
});

Deno.test("a host's deadline runs from its turn, and is its own", async () => {
  const work = async (host: string, signal: AbortSignal) => {
    if (host !== "host002") return await new Promise((resolve) => setTimeout(() => resolve(host), 400));
    return await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  // Five times 400 ms, one after the other: none may be counted as late but the one that hangs.
  const outcomes = await fanOut(hostNames(6), work, { signal, parallelism: 1, timeoutMs: 4_000 });
  assert.deepEqual(outcomes.map(({ kind }) => kind), ["done", "failed", "done", "done", "done", "done"]);
  const failed = outcomes[1] as Outcome<unknown> & { kind: "failed" };
  assert.deepEqual(
    [(failed.error as Error).message, (failed.error as { exitStatus?: number }).exitStatus],
    ['Cannot wait for "host002" any longer: 4000 ms are over', 124],
  );
});

Deno.test("an abort ends all: those under way hear it, the others get no turn", async () => {
  const abort = new AbortController();
  const reason = new Error("enough");
  const started: string[] = [];
  const outcomes = await fanOut(hostNames(10), (host, signal) => {
    started.push(host);
    if (started.length === 3) queueMicrotask(() => abort.abort(reason));
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  }, { signal: abort.signal, parallelism: 3 });
  assert.deepEqual(started, hostNames(3));
  assert.ok(outcomes.every((outcome) => outcome.kind === "failed" && outcome.error === reason));
});

Deno.test("no hosts, no outcomes", async () => {
  assert.deepEqual(await fanOut([], () => Promise.reject(new Error("never")), { signal }), []);
});

Deno.test({
  ...needs({ programs: MANY_HOSTS_PROGRAMS }),
  name: "300 processes: one hangs, one lies on stderr, 32 at once, one connection each, bounded memory",
  fn: async () => {
    await using many = await manyHosts({
      answers: { facts: { result: { kind: "known" } }, exec: { result: 0, text: "out" } },
    });
    const hosts = hostNames(300);
    hosts[41] = "hanging";
    hosts[42] = "liar";
    const before = Deno.memoryUsage().rss;
    let now = 0;
    let peak = 0;
    let text = 0;
    const count = async <T>(work: () => Promise<T>) => {
      peak = Math.max(peak, ++now);
      try {
        return await work();
      } finally {
        now--;
      }
    };
    {
      await using connector = await openConnector({
        kind: "ssh",
        agent: { kind: "command", words: ["davit"] },
        env: many.env,
        log: silent,
      });
      const ask = (method: string) =>
        fanOut(hosts, (host, signal) =>
          count(async () => {
            const peer = await connector.connect(host, { signal, timeoutMs: 60_000 });
            return await peer.call(method, {}, {
              signal,
              onBytes: (_, bytes) => void (text += bytes.length),
            });
          }), { signal, timeoutMs: 20_000 });
      for (const method of ["facts", "exec"]) {
        const outcomes = await ask(method);
        const failed = outcomes.filter((outcome) => outcome.kind === "failed");
        assert.deepEqual(failed.map(({ host }) => host), ["hanging"]);
        assert.deepEqual(outcomes.map(({ host }) => host), hosts);
      }
      const { opened, open } = await many.connections();
      assert.deepEqual([opened, open], [300, 300]);
    }
    assert.equal(peak, 32);
    assert.equal(text, 299 * "out\n".length);
    assert.equal((await many.connections()).open, 0);
    const grownMiB = (Deno.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grownMiB < 200, `${grownMiB} MiB more than before`);
  },
});
