/**
 * A real Slurm cluster on this machine: munged, slurmctld and a slurmd for each node, on free loopback ports and in a
 * directory of their own. Hostname, files and processes are shared; each node's steps have an environment of their
 * own by a TaskProlog. Everything is ended by pid.
 *
 * @module
 */
import { freePort, must } from "./real_registry.ts";
import { type LiveProcess, run, start } from "./run.ts";
import { tempDir } from "./temp.ts";

/** A cluster with one allocation of all its nodes. */
export interface SlurmCluster extends AsyncDisposable {
  readonly nodes: readonly string[];
  readonly job: string;
  /** What a process in the allocation has: SLURM_CONF, SLURM_JOB_ID, SLURM_JOB_NODELIST. */
  readonly env: Readonly<Record<string, string>>;
  /** Kills a node's slurmd, as a crash of it would. */
  kill(node: string): Promise<void>;
}

/** Debian programs that it needs; for needs(), with root. */
export const SLURM_PROGRAMS = [
  "munged",
  "slurmctld",
  "slurmd",
  "srun",
  "scontrol",
  "salloc",
  "scancel",
] as const;

/** For a slow machine: 2 to 3 s are usual. */
const START_MS = 120_000;
const CPUS = 64;

/** Starts it; `env` says what the steps of each node have. */
export async function startSlurm(
  nodes: Readonly<Record<string, Readonly<Record<string, string>>>>,
): Promise<SlurmCluster> {
  const dir = await tempDir("slurm");
  const stack = new AsyncDisposableStack();
  stack.use(dir);
  try {
    const names = Object.keys(nodes);
    await Deno.writeFile(dir.join("munge.key"), crypto.getRandomValues(new Uint8Array(1024)), {
      mode: 0o600,
    });
    const daemons = new Map<string, LiveProcess>();
    const env = { SLURM_CONF: dir.join("slurm.conf") };
    stack.defer(() => endAll(dir.path, daemons));
    const launch = (name: string, argv: string[]) =>
      daemons.set(name, start(argv, { env, timeoutMs: 3_600_000 }));

    launch("munged", [
      ...["munged", "--foreground", "--force", `--key-file=${dir.join("munge.key")}`],
      ...[`--socket=${dir.join("munge.socket")}`, `--pid-file=${dir.join("munge.pid")}`],
      `--seed-file=${dir.join("munge.seed")}`,
    ]);
    await daemons.get("munged")!.waitFor(/Created \d+ work threads/, START_MS);
    await Deno.writeTextFile(env.SLURM_CONF, configuration(dir.path, names));
    await Deno.writeTextFile(dir.join("prolog"), `#!/bin/sh\ncat "${dir.path}/$SLURMD_NODENAME.env"\n`, {
      mode: 0o755,
    });
    await Deno.mkdir(dir.join("state"));
    launch("slurmctld", ["slurmctld", "-D", "-i", "-f", env.SLURM_CONF]);
    for (const [name, variables] of Object.entries(nodes)) {
      const lines = Object.entries(variables).map(([key, value]) => `export ${key}=${value}\n`);
      await Deno.writeTextFile(dir.join(`${name}.env`), lines.join(""));
      await Deno.mkdir(dir.join(`spool.${name}`));
      launch(name, ["slurmd", "-D", "-N", name, "-f", env.SLURM_CONF]);
    }
    const { stderr } = await allocate(names.length, env);
    const job = /Granted job allocation (\d+)/.exec(stderr)?.[1];
    if (job === undefined) throw new Error(`Cannot allocate: ${stderr}`);
    const list = await must(["env", `SLURM_CONF=${env.SLURM_CONF}`, "squeue", "-h", "-j", job, "-o", "%N"]);
    return {
      nodes: names,
      job,
      env: { ...env, SLURM_JOB_ID: job, SLURM_JOB_NODELIST: list.trim() },
      async kill(node) {
        daemons.get(node)!.kill("SIGKILL");
        await daemons.get(node)!.done;
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** Waits for the controller to answer and for the nodes to be up: salloc itself waits for nodes. */
async function allocate(count: number, env: Record<string, string>) {
  const deadlineMs = Date.now() + START_MS;
  for (;;) {
    const result = await run(["salloc", `--nodes=${count}`, "--exclusive", "--no-shell"], {
      env,
      timeoutMs: START_MS,
    });
    if (result.code === 0 || Date.now() > deadlineMs) return result;
    await new Promise((resolve) => setTimeout(resolve, 100)); // the controller does not listen yet
  }
}

async function endAll(dir: string, daemons: ReadonlyMap<string, LiveProcess>): Promise<void> {
  // Steps are in sessions of their own: they have this cluster's SLURM_CONF or were started by its slurmd.
  for (const pid of pidsOf(dir)) kill(pid);
  await Promise.all([...daemons.values()].map((daemon) => daemon[Symbol.asyncDispose]()));
  for (const pid of pidsOf(dir)) kill(pid);
}

function pidsOf(dir: string): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => {
    try {
      return pid > 0 && pid !== Deno.pid &&
        Deno.readTextFileSync(`/proc/${pid}/environ`).includes(`=${dir}/`);
    } catch {
      return false; // it has ended
    }
  });
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function configuration(dir: string, nodes: readonly string[]): string {
  const host = Deno.hostname();
  return [
    "ClusterName=davit",
    `SlurmctldHost=${host}(127.0.0.1)`,
    `SlurmctldPort=${freePort()}`,
    "AuthType=auth/munge",
    `AuthInfo=socket=${dir}/munge.socket`,
    "CredType=cred/munge",
    "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
    "SlurmUser=root",
    "SlurmdUser=root",
    `StateSaveLocation=${dir}/state`,
    `SlurmdSpoolDir=${dir}/spool.%n`,
    `SlurmctldPidFile=${dir}/slurmctld.pid`,
    `SlurmdPidFile=${dir}/%n.pid`,
    `TaskProlog=${dir}/prolog`,
    "ProctrackType=proctrack/linuxproc",
    "TaskPlugin=task/none",
    "JobAcctGatherType=jobacct_gather/none",
    "AccountingStorageType=accounting_storage/none",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_Core",
    "MpiDefault=none",
    "ReturnToService=2",
    "SlurmdParameters=config_overrides",
    "KillWait=2",
    // Without CAP_SYS_RESOURCE limits cannot be raised.
    "PropagateResourceLimits=NONE",
    ...nodes.map((name) =>
      `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${freePort()} CPUs=${CPUS} State=UNKNOWN`
    ),
    "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    "",
  ].join("\n");
}
