/**
 * The host's side of every method in host_methods.ts, over the CLI of docker or podman. One set per connection: it
 * holds the locks that were taken through it.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import type { CallContext, Serving } from "../../host/fan_out/rpc.ts";
import { type Log, silent } from "../../host/log.ts";
import { VERSION } from "../../version.ts";
import type { ContainerFacts, HostFacts, UnknownWhy } from "../facts.ts";
import type { HostMethod, HostMethods } from "../host_methods.ts";
import type { ContainerSpec, RuntimeName, SudoMode } from "../spec.ts";
import { Cli, textOf } from "./cli.ts";
import type { CliFault } from "./common.ts";
import { createContainer } from "./create.ts";
import { execIn } from "./exec.ts";
import { haveImage } from "./image.ts";
import {
  inspectContainer,
  inspectContainers,
  type Inspected,
  inspectImage,
  isInherited,
  readReadyMark,
} from "./inspect.ts";
import { removeContainer, startContainer, stopContainer } from "./lifecycle.ts";
import { Locks } from "./locks.ts";
import { type Checked, checkParams } from "./params.ts";
import { docker } from "./runtime_docker.ts";
import { podman } from "./runtime_podman.ts";
import { OWN_DIRECTORY, putFiles, runScript } from "./script.ts";
import { haveSshd } from "./sshd.ts";
import { copyIn, copyOut, readLogs } from "./streams.ts";

/** What a set of handlers needs of its process. */
export interface HostOptions {
  /** The whole environment of the CLIs: the programs are looked for on its PATH. */
  readonly env: Readonly<Record<string, string>>;
  readonly log?: Log;
  /** `DAVIT_CONTAINER_LOCK_DIR` of `env`, where not given. */
  readonly lockDir?: string | undefined;
  /** Of a call that has no deadline of its own and moves no data; 60 s. */
  readonly cliTimeoutMs?: number;
  /** Where devices and groups of this host are; `/dev` and `/etc/group`. */
  readonly deviceRoot?: string;
  readonly groupFile?: string;
}

const RUNTIMES = { docker, podman };
const CLI_TIMEOUT_MS = 60_000;
const MARKS_AT_ONCE = 8;
const UNKNOWN: ReadonlySet<string> = new Set<CliFault>([
  "runtime_missing",
  "sudo",
  "daemon",
  "permission",
  "timeout",
]);

type Target = { readonly runtime: RuntimeName; readonly sudo: SudoMode };
type Typed = {
  readonly [M in HostMethod]: (params: Checked<M>, context: CallContext) => Promise<HostMethods[M]["result"]>;
};

/** Makes the handlers of one connection. */
export function hostHandlers(options: HostOptions): Serving {
  const { env, log = silent, cliTimeoutMs: timeoutMs = CLI_TIMEOUT_MS } = options;
  const places = { root: options.deviceRoot ?? "/dev", groups: options.groupFile ?? "/etc/group" };
  const directory = options.lockDir ?? env.DAVIT_CONTAINER_LOCK_DIR;
  const locks = new Locks({ directory, runtimeDirectory: env.XDG_RUNTIME_DIR }, log);
  const clis = new Map<string, Cli>();

  function cliOf({ runtime, sudo }: Target): Cli {
    const key = `${runtime} ${sudo}`;
    const cli = clis.get(key) ?? new Cli(RUNTIMES[runtime], sudo, { env, timeoutMs });
    clis.set(key, cli);
    return cli;
  }

  /** What `inspect` has, and what only we know of it. */
  async function withOurFacts(cli: Cli, found: Inspected, signal: AbortSignal): Promise<ContainerFacts> {
    const { name, labels, pid: _pid, env: _env, error: _error, restarts: _restarts, ...facts } = found;
    const [isForeign, ready, execs, lastUsedAt] = await Promise.all([
      isInherited(cli, found, signal),
      labels === undefined ? undefined : readReadyMark(cli, facts.id, signal),
      locks.countShared(name),
      locks.lastUsed(name),
    ]);
    return {
      ...facts,
      execs,
      ...labels === undefined || isForeign ? {} : { labels },
      ...ready === undefined || isForeign ? {} : { ready },
      ...lastUsedAt === undefined ? {} : { lastUsedAt },
    };
  }

  const typed: Typed = {
    hello({ version }) {
      if (version === VERSION) return Promise.resolve({ version, hostname: Deno.hostname() });
      throw new Failure(
        "PROTOCOL",
        `Cannot talk to davit ${version}: this one is ${VERSION}, wanted the same`,
        {
          code: "version_mismatch",
          hint: "use one davit on all hosts",
        },
      );
    },

    async facts({ name, image, ...target }, { signal }) {
      try {
        const cli = cliOf(target);
        const [found, imageFacts] = await Promise.all([
          inspectContainer(cli, name, signal),
          image ? inspectImage(cli, image, signal) : null,
        ]);
        // By name only: what merely has an id that begins so is another's.
        const container = found === null ? null : await withOurFacts(cli, found, signal);
        return { kind: "known", container, image: imageFacts } satisfies HostFacts;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Failure)) throw error;
        const why = UNKNOWN.has(error.code) ? error.code as UnknownWhy : "daemon";
        return { kind: "unknown", why, detail: error.message } satisfies HostFacts;
      }
    },

    async list({ owner, ...target }, { signal }) {
      const cli = cliOf(target);
      const filter = owner === undefined ? "label=davit.generation" : `label=davit.owner=${owner}`;
      const words = ["ps", "--all", "--no-trunc", "--quiet", `--filter=${filter}`];
      const ids = textOf(await cli.must(words, "list containers", { signal })).match(/^[0-9a-f]{64}$/gm) ??
        [];
      if (ids.length === 0) return { containers: [] };
      const found = (await inspectContainers(cli, ids, signal))
        .filter(({ labels }) => labels !== undefined && (owner === undefined || labels.owner === owner));
      const containers: (ContainerFacts & { readonly name: string })[] = [];
      for (let at = 0; at < found.length; at += MARKS_AT_ONCE) {
        const part = found.slice(at, at + MARKS_AT_ONCE);
        containers.push(
          ...await Promise.all(
            part.map(async (one) => ({ ...await withOurFacts(cli, one, signal), name: one.name })),
          ),
        );
      }
      return { containers: containers.filter(({ labels }) => labels !== undefined) };
    },

    lock: (params, { signal }) => locks.take(params, signal),
    async unlock({ name }) {
      await locks.free(name);
      return null;
    },

    image: ({ image, imageTar, pull, registry, ...target }, { signal, tell }) =>
      haveImage(cliOf(target), {
        image,
        pull,
        ...imageTar === undefined ? {} : { imageTar },
        ...registry === undefined ? {} : { registry },
      }, { signal, onLine: (line) => tell({ kind: "pull", line }) }),

    async create({ spec, labels, image, name, ...target }, { signal, tell }) {
      if (spec.name !== name) {
        throw new Failure("DATAERR", `Cannot create container "${name}": its spec is for "${spec.name}"`, {
          code: "bad_params",
        });
      }
      const note = (line: string) => tell({ kind: "note", line });
      const id = await createContainer(cliOf(target), spec as unknown as ContainerSpec, {
        ...{ labels, image, places, note, signal },
        timeoutMs: Math.max(spec.startTimeoutMs, timeoutMs),
      });
      return { id };
    },

    async start({ timeoutMs, ...target }, { signal }) {
      const cli = cliOf(target);
      const found = await startContainer(cli, target, { timeoutMs, signal });
      return await withOurFacts(cli, found, signal);
    },

    async stop({ graceMs, ...target }, { signal }) {
      await stopContainer(cliOf(target), target, { graceMs, signal });
      return null;
    },

    remove: async (target, { signal }) => ({ removed: await removeContainer(cliOf(target), target, signal) }),

    script: (params, context) => runScript(cliOf(params), params, context, log),

    async markReady({ mark, ...target }, { signal }) {
      const file = { name: `${OWN_DIRECTORY}/ready.json`, mode: 0o644, data: JSON.stringify(mark) };
      await putFiles(cliOf(target), target, [file], signal);
      await locks.touch(target.name);
      return null;
    },

    sshd: (params, context) => haveSshd(cliOf(params), params, context, log),

    async exec(params, context) {
      await locks.touch(params.name);
      return await execIn(cliOf(params), params, context, log);
    },

    async copyOut(params, context) {
      await copyOut(cliOf(params), params, context);
      return null;
    },
    async copyIn(params, context) {
      await copyIn(cliOf(params), params, context);
      return null;
    },
    async logs(params, context) {
      await readLogs(cliOf(params), params, context);
      return null;
    },
  };

  const handlers = Object.fromEntries((Object.keys(typed) as HostMethod[]).map((method) => [
    method,
    async (params: unknown, context: CallContext) =>
      await (typed[method] as (params: unknown, context: CallContext) => Promise<unknown>)(
        checkParams(method, params),
        context,
      ),
  ]));
  return { handlers, [Symbol.asyncDispose]: () => locks[Symbol.asyncDispose]() };
}
