/**
 * What a runtime says of a container and an image, by `inspect` of the exact name: filters of `ps` are patterns, and
 * `inspect` itself takes the beginning of an id for a name.
 *
 * @module
 */
import * as z from "zod/mini";
import { Failure } from "../../failure.ts";
import type { ContainerFacts, ImageFacts, ReadyMark } from "../facts.ts";
import { labelsFromMap } from "../labels.ts";
import { callFailed, type Cli, textOf } from "./cli.ts";
import { withAlgorithm } from "./common.ts";
import { readFirstFile } from "./tar.ts";

/** Where the ready mark is in the container: in its overlay, so that it goes when that goes. */
export const READY_FILE = "/.davit/ready.json";

const STATUSES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"] as const;
/** podman has more states than docker. */
const OTHER_STATUSES: Readonly<Record<string, ContainerFacts["status"]>> = {
  configured: "created",
  initialized: "created",
  stopped: "exited",
  stopping: "running",
  unknown: "dead",
};

const containerSchema = z.array(z.object({
  Id: z.string(),
  Name: z.string(),
  Created: z.string(),
  Image: z.string(),
  RestartCount: z.optional(z.number()),
  State: z.object({
    Status: z.string(),
    ExitCode: z.optional(z.number()),
    StartedAt: z.string(),
    Pid: z.optional(z.number()),
    Error: z.optional(z.string()),
  }),
  Config: z.object({
    Labels: z.nullish(z.record(z.string(), z.string())),
    Env: z.nullish(z.array(z.string())),
  }),
}));
const imageSchema = z.array(z.object({
  Id: z.string(),
  RepoDigests: z.nullish(z.array(z.string())),
  Labels: z.nullish(z.record(z.string(), z.string())),
  Config: z.nullish(z.object({ Labels: z.nullish(z.record(z.string(), z.string())) })),
}));
const markSchema = z.object({
  generation: z.string(),
  provision: z.string(),
  readyAt: z.string(),
  startedAt: z.string(),
});

/** One container, with what only this host's side needs. Its labels may be its image's: {@linkcode isInherited}. */
export interface Inspected extends Omit<ContainerFacts, "execs" | "lastUsedAt" | "ready"> {
  readonly name: string;
  /** Of its first process, on this host; 0 when it does not run. */
  readonly pid: number;
  /** NAME=VALUE, the image's own included. */
  readonly env: readonly string[];
  readonly error: string;
  /** By its restart policy, since it was started. */
  readonly restarts: number;
}

/** The container of exactly that name or full id; null when there is none. */
export async function inspectContainer(
  cli: Cli,
  key: string,
  signal: AbortSignal,
): Promise<Inspected | null> {
  return (await inspectContainers(cli, [key], signal)).find(({ id, name }) => id === key || name === key) ??
    null;
}

/** The containers of these names or ids; absent ones are left out. */
export async function inspectContainers(
  cli: Cli,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<Inspected[]> {
  const end = await cli.run(["container", "inspect", ...keys], { signal });
  if (end.code !== 0 && !/no such (?:container|object)/i.test(end.stderr)) {
    throw callFailed(`look at container "${keys.join(" ")}"`, end);
  }
  return parse(containerSchema, textOf(end), cli).map((container) => factsOf(cli, container));
}

type Raw = z.infer<typeof containerSchema>[number];

function factsOf(cli: Cli, raw: Raw): Inspected {
  const { Status, ExitCode = 0, StartedAt, Pid = 0, Error: error = "" } = raw.State;
  const labels = labelsFromMap(raw.Config.Labels ?? undefined);
  const status = STATUSES.find((known) => known === Status) ?? OTHER_STATUSES[Status];
  if (status === undefined) throw notUnderstood(cli, `the state "${Status}"`);
  return {
    id: raw.Id,
    name: raw.Name.replace(/^\//, ""),
    status,
    exitCode: ExitCode,
    createdAt: raw.Created,
    startedAt: StartedAt,
    ...labels === undefined ? {} : { labels },
    imageId: withAlgorithm(raw.Image),
    pid: Pid,
    env: raw.Config.Env ?? [],
    error,
    restarts: raw.RestartCount ?? 0,
  };
}

/**
 * Whether it has our labels only because its image has: `docker commit` of a container of ours makes such an image,
 * and what somebody then makes of that by hand is not ours.
 */
export async function isInherited(
  cli: Cli,
  { labels, imageId }: Inspected,
  signal: AbortSignal,
): Promise<boolean> {
  if (labels === undefined) return false;
  const image = await inspectRawImage(cli, imageId, signal);
  return labelsFromMap(image?.Config?.Labels ?? image?.Labels ?? undefined)?.generation === labels.generation;
}

/** The image that `reference` names on this host; null when it is not here. */
export async function inspectImage(
  cli: Cli,
  reference: string,
  signal: AbortSignal,
): Promise<ImageFacts | null> {
  const image = await inspectRawImage(cli, reference, signal);
  if (image === null) return null;
  const id = withAlgorithm(image.Id);
  return { id, digest: digestOf(reference, image.RepoDigests ?? []) ?? id };
}

async function inspectRawImage(cli: Cli, reference: string, signal: AbortSignal) {
  const end = await cli.run(["image", "inspect", reference], { signal });
  if (end.code !== 0 && !/no such image|image not known|no such object/i.test(end.stderr)) {
    throw callFailed(`look at image "${reference}"`, end);
  }
  return parse(imageSchema, textOf(end), cli)[0] ?? null;
}

/**
 * The digest under which the registry of `reference` has the image: one image may have come from several. Sorted,
 * because podman also keeps the digest of the index, in any order.
 */
export function digestOf(reference: string, repoDigests: readonly string[]): string | undefined {
  const wanted = /@(sha256:[0-9a-f]{64})$/.exec(reference)?.[1];
  const repository = repositoryOf(reference);
  const digests = repoDigests.filter((entry) => repositoryOf(entry) === repository)
    .map((entry) => entry.slice(entry.lastIndexOf("@") + 1)).sort();
  return wanted !== undefined && digests.includes(wanted) ? wanted : digests[0];
}

/** The full name without tag and digest: docker writes "alpine" where podman writes "docker.io/library/alpine". */
function repositoryOf(reference: string): string {
  const name = reference.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
  const [first = "", ...rest] = name.split("/");
  const hasServer = rest.length > 0 && /[.:]|^localhost$/.test(first);
  if (!hasServer) return `docker.io/${rest.length === 0 ? "library/" : ""}${name}`;
  return first === "index.docker.io" ? `docker.io/${rest.join("/")}` : name;
}

/** The ready mark, also of a stopped container and one without a shell; undefined when it has none. */
export async function readReadyMark(
  cli: Cli,
  id: string,
  signal: AbortSignal,
): Promise<ReadyMark | undefined> {
  const end = await cli.run(["cp", `${id}:${READY_FILE}`, "-"], { signal });
  if (end.code !== 0) {
    if (/could not (?:find|be found)|no such file|no such container|not found/i.test(end.stderr)) {
      return undefined;
    }
    throw callFailed(`read the ready mark of container ${id.slice(0, 12)}`, end);
  }
  const text = readFirstFile(end.stdout);
  const mark = text === undefined ? undefined : markSchema.safeParse(jsonOf(text));
  // Half a mark is none: it was cut off by a crash, and provisioning has to run again.
  return mark?.success ? mark.data : undefined;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parse<T extends z.ZodMiniType>(schema: T, text: string, cli: Cli): z.infer<T> {
  const parsed = schema.safeParse(jsonOf(text.trim() === "" ? "[]" : text));
  if (parsed.success) return parsed.data;
  throw notUnderstood(cli, z.prettifyError(parsed.error).split("\n").slice(0, 3).join(" "));
}

function notUnderstood({ runtime }: Cli, what: string): Failure {
  return new Failure("PROTOCOL", `Cannot understand ${runtime.program}: ${what} in its answer is unknown`, {
    code: "protocol",
    hint: `is "${runtime.program}" on PATH really ${runtime.program}?`,
  });
}
