/**
 * Hosts of a Slurm allocation by srun, one step a host: no ssh between nodes is needed.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../errno.ts";
import { slurmFacts } from "../slurm.ts";
import { type ConnectEnd, type ConnectFault, lastWords } from "./child_peer.ts";
import { AGENT_ARGUMENTS, pushWords } from "./push.ts";
import { checkHost, type StartOf } from "./ssh.ts";

/** How hosts are reached by srun. */
export interface SlurmOptions {
  /** Further words for srun, after davit's own: the last of two counts. `--jobid=17` names another allocation. */
  readonly options?: readonly string[] | undefined;
  /** Of srun, beside this process' own; SLURM_JOB_ID names the allocation. */
  readonly env: Readonly<Record<string, string>>;
}

const SCONTROL_DEADLINE_MS = 30_000;
const JOB_REGEXP = /^--jobid(?:=(\d+))?$/;

/** Makes the command line for each host. */
export function slurmStart({ options = [], env }: SlurmOptions): StartOf {
  const job = jobOf(options, env);
  return (host, program, { skippedPlaces }) => ({
    argv: [
      "srun",
      // Beside whatever else runs there, and with what the job has: podman's containers are in this step's cgroup.
      ...["--overlap", `--jobid=${job}`, "--nodes=1", "--ntasks=1", `--nodelist=${checkHost(host)}`],
      ...["--chdir=/", "--kill-on-bad-exit=0", "--quiet", "--mpi=none", "--cpu-bind=none"],
      ...options,
      ...program.kind === "push"
        ? pushWords(program.portable, skippedPlaces)
        : [...program.words, ...AGENT_ARGUMENTS],
    ],
    env,
    push: program.kind === "push" ? program.portable : undefined,
    classify,
  });
}

function jobOf(options: readonly string[], env: Readonly<Record<string, string>>): string {
  for (const [index, word] of options.entries()) {
    const match = JOB_REGEXP.exec(word);
    if (match !== null) return match[1] ?? options[index + 1] ?? "";
  }
  const job = slurmFacts(env)?.job;
  if (job !== undefined) return job;
  throw new Failure("USAGE", "Cannot reach hosts through Slurm: there is no job here", {
    code: "no_job",
    hint: "run it in an allocation (salloc, sbatch), or name one with --jobid=N",
  });
}

/** The hosts of the allocation, in Slurm's order. */
export async function slurmHosts(
  { options = [], env, signal }: SlurmOptions & { readonly signal: AbortSignal },
): Promise<string[]> {
  const job = jobOf(options, env);
  const nodes = job === env.SLURM_JOB_ID && env.SLURM_JOB_NODELIST
    ? env.SLURM_JOB_NODELIST
    : await said(["squeue", "--noheader", `--jobs=${job}`, "--format=%N"], env, signal);
  if (nodes.trim() === "") {
    throw new Failure(
      "UNAVAILABLE",
      `Cannot reach the hosts of job ${job}: it has none, wanted a running job`,
      {
        code: "no_hosts",
      },
    );
  }
  return (await said(["scontrol", "show", "hostnames", nodes.trim()], env, signal)).split("\n").filter(
    Boolean,
  );
}

async function said(
  argv: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(argv[0], {
      args: argv.slice(1),
      env: { ...env, LC_ALL: "C" },
      stdin: "null",
      signal: AbortSignal.any([signal, AbortSignal.timeout(SCONTROL_DEADLINE_MS)]),
    }).output();
    signal.throwIfAborted();
    if (code === 0) return new TextDecoder().decode(stdout);
    throw cannotAsk(argv[0], `it ended with status ${code}${lastWords(new TextDecoder().decode(stderr))}`);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") throw cannotAsk(argv[0], "it is not on this machine");
    throw error;
  }
}

function cannotAsk(program: string, what: string): Failure {
  return new Failure("UNAVAILABLE", `Cannot ask Slurm by "${program}": ${what}`, { code: "slurm" });
}

const NO_PROGRAM_REGEXP = /execve\(\)|[Nn]o such file or directory|[Pp]ermission denied|not found/;

/** Said by each srun with --cpu-bind where there is nothing to bind with; then it does not matter either. */
const NOISE_REGEXP = /^srun: cluster configuration lacks support for cpu binding\n/m;

/** What srun's end says of the host: its own complaints begin with "srun: error:". */
function classify({ end, stderr: said, greeting }: ConnectEnd): ConnectFault {
  const stderr = said.replace(NOISE_REGEXP, "");
  const words = lastWords(stderr) || lastWords(greeting.join("\n"));
  if (NO_PROGRAM_REGEXP.test(stderr)) {
    return {
      code: "agent",
      what: `the step starts, but davit does not (status ${end.code})${words}`,
      hint: "name what is there with --agent, or let davit be brought: --agent-file",
    };
  }
  if (
    /^srun: error: .*(?:not in this job|Invalid job id|not available|Access\/permission denied)/m.test(stderr)
  ) {
    return { code: "login_refused", what: `Slurm starts no step there${words}` };
  }
  if (/^srun: error: (?!.*: task \d)/m.test(stderr)) return { code: "unreachable", what: `no step${words}` };
  return { code: "agent", what: `the step ended before davit answered (status ${end.code})${words}` };
}
