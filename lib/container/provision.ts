/**
 * Makes running containers ready: the setup script once, the start script and sshd after each start, and the
 * ready mark last. What fails here stays for inspection: it has no mark, or that of an earlier start, so that nobody
 * attaches to it and the next `up` does this again.
 *
 * @module
 */
import { EXIT, Failure } from "../failure.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import type { ContainerFacts } from "./facts.ts";
import { targetOf } from "./gather.ts";
import type { Hosts } from "./hosts.ts";
import { allOrThrow, errorsOf, failureOf } from "./outcomes.ts";
import type { PlanStep } from "./plan.ts";
import type { SpecScript } from "./spec.ts";
import { haveSshd } from "./sshd.ts";
import type { Work } from "./work.ts";

/** Which containers, and what was done with them. */
export interface Provisioning {
  readonly steps: readonly PlanStep[];
  /** By host; all hosts of the steps. */
  readonly running: ReadonlyMap<string, ContainerFacts>;
  readonly generation: string;
}

const TIDY_MS = 60_000;

/** See the module's description. Steps that only attach are left alone. */
export async function provision(hosts: Hosts, what: Provisioning, work: Work): Promise<void> {
  const { spec, log } = work;
  const { steps, running, generation } = what;
  const touched = steps.filter((step) => step.do !== "attach");
  const fresh = namesOf(touched.filter((step) => step.do !== "start"));
  const names = namesOf(touched);
  try {
    if (spec.setup !== undefined) await runScript(hosts, fresh, spec.setup, "setup", what, work);
    if (spec.everyStart !== undefined) {
      await runScript(hosts, names, spec.everyStart, "start", what, work);
    }
    if (spec.sshd !== undefined) await haveSshd(hosts, { sshd: spec.sshd, running, generation }, work);
  } catch (error) {
    if (fresh.length > 0) {
      log.warn("the containers stay for inspection, without their ready mark", {
        name: spec.name,
        hosts: fresh.join(","),
      });
    }
    throw error;
  }
  const outcomes = await hosts.each((host) => {
    const { id, startedAt } = running.get(host.name)!;
    const provision = spec.setup?.sha256 ?? "none";
    const mark = { generation, provision, readyAt: new Date().toISOString(), startedAt };
    return host.call("markReady", { ...targetOf(spec), id, mark });
  }, { names, keep: true });
  allOrThrow(`mark container "${spec.name}" ready`, outcomes);
}

function namesOf(steps: readonly PlanStep[]): string[] {
  return steps.map(({ host }) => host);
}

/** Runs one script everywhere to its end; every host that fails is named, and its output kept. */
async function runScript(
  hosts: Hosts,
  names: readonly string[],
  script: SpecScript,
  kind: "setup" | "start",
  { running }: Provisioning,
  work: Work,
): Promise<void> {
  const { spec, output, activity } = work;
  if (names.length === 0) return;
  const outcomes = await hosts.each(async (host) => {
    await using file = await output.open(host.name, `${kind}.log`);
    const params = {
      ...targetOf(spec),
      id: running.get(host.name)!.id,
      text: script.text,
      label: kind,
      timeoutMs: spec.startTimeoutMs,
      env: {},
    };
    const end = await host.call("script", params, {
      timeoutMs: spec.startTimeoutMs + TIDY_MS,
      async onBytes(_channel, bytes) {
        activity.ticks++;
        await file.write(bytes);
      },
    });
    if (end.code !== 0 || end.timedOut) throw scriptFailure(script, kind, end, file.tail());
  }, { names, keep: true });
  const errors = errorsOf(outcomes);
  if (errors.size === 0) return;
  const failure = failureOf(`provision container "${spec.name}"`, errors, names.length);
  if (!(failure instanceof Failure) || failure.code === "interrupted") throw failure;
  const directory = await output.keep();
  // Done in part, even where all failed: containers are there and not ready.
  const exit = failure.exitStatus === EXIT.UNKNOWN ? failure.exitStatus : EXIT.PARTIAL;
  throw new Failure(exit, failure.message, {
    code: failure.code,
    hint: `the whole output is in ${directory}/HOST.${kind}.log; \`davit container exec\` looks inside`,
    cause: failure,
  });
}

function scriptFailure(
  { path }: SpecScript,
  kind: string,
  { code, signal, timedOut }: { code: number; signal: string | null; timedOut: boolean },
  tail: string,
): Failure {
  const how = timedOut ? "took too long" : signal !== null ? `was ended by ${signal}` : `exited ${code}`;
  const last = tail.split("\n").slice(-3).join(" | ").slice(-300);
  const said = last === "" ? "" : `; its last words: ${escapeForTerminal(last)}`;
  return new Failure("PARTIAL", `the ${kind} script "${path}" ${how}${said}`, {
    code: "provisioning_failed",
  });
}
