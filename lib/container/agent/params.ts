/**
 * Checks what comes from another process before anything is done with it: names are names, ids are ids, and no word
 * can be taken for an option.
 *
 * @module
 */
import * as z from "zod/mini";
import { Failure } from "../../failure.ts";
import type { HostMethod } from "../host_methods.ts";
import { ID_REGEXP, IMAGE_REGEXP, NAME_REGEXP } from "./common.ts";

const TIMER_LIMIT_MS = 2 ** 31 - 1;
const ENV_NAME_REGEXP = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const NO_NUL_REGEXP = /^[^\0]*$/;

const matching = (regexp: RegExp, wanted: string) => z.string().check(z.regex(regexp, `wanted ${wanted}`));
const text = matching(NO_NUL_REGEXP, "text without NUL");
const texts = z.array(text);
const name = matching(NAME_REGEXP, "letters, digits, _ . -");
const id = matching(ID_REGEXP, "a full container id");
const image = matching(IMAGE_REGEXP, "an image reference");
const milliseconds = z.number().check(z.nonnegative(), z.maximum(TIMER_LIMIT_MS));
const port = z.int().check(z.minimum(1), z.maximum(65_535));
const env = z.record(matching(ENV_NAME_REGEXP, "the name of a variable"), text);
/** An option's value of its own word would do, but not as the word itself: user and paths that begin with "-". */
const path = matching(/^[^\0]+$/, "a path");
const runtime = z.enum(["docker", "podman"]);
const sudo = z.enum(["auto", "never", "always"]);
const host = { runtime, sudo };
const target = { ...host, name };
const container = { ...target, id };

const labels = z.object({
  owner: text,
  name: text,
  generation: text,
  spec: text,
  specJson: text,
  imageDigest: text,
  provision: text,
  lifetime: text,
  leaseMs: text,
});
const imageFacts = z.object({ id: image, digest: z.string() });
const registry = z.object({ server: text, username: text, passwordFile: path });
/** What creation looks at. The rest of a spec is not this host's business. */
const spec = z.object({
  name,
  image,
  env,
  envFiles: texts,
  volumes: texts,
  devices: texts,
  gpus: z.enum(["amd", "nvidia", "none", "auto"]),
  capAdd: texts,
  securityOpt: texts,
  groupAdd: texts,
  ulimits: texts,
  network: z.optional(text),
  ipc: z.optional(text),
  pid: z.optional(text),
  hostname: z.optional(text),
  privileged: z.boolean(),
  shmSizeBytes: z.optional(z.number().check(z.positive())),
  init: z.boolean(),
  entrypoint: z.optional(texts),
  command: texts,
  user: z.optional(text),
  workdir: z.optional(text),
  restart: z.optional(text),
  startTimeoutMs: milliseconds,
});

const SCHEMAS = {
  hello: z.object({ version: z.string() }),
  facts: z.object({ ...target, image: z.optional(z.union([z.literal(""), image])) }),
  list: z.object({ ...host, owner: z.optional(text) }),
  lock: z.object({
    name,
    mode: z.enum(["exclusive", "shared"]),
    waitMs: milliseconds,
    holder: z.object({ user: text, since: text, what: text }),
  }),
  unlock: z.object({ name }),
  image: z.object({
    ...target,
    image,
    imageTar: z.optional(path),
    pull: z.enum(["missing", "always", "never"]),
    registry: z.optional(registry),
  }),
  create: z.object({ ...target, spec, labels, image: imageFacts }),
  start: z.object({ ...container, timeoutMs: milliseconds }),
  stop: z.object({ ...container, graceMs: milliseconds }),
  remove: z.object({ ...container, generation: text }),
  script: z.object({
    ...container,
    text: z.string(),
    label: name,
    timeoutMs: milliseconds,
    env,
  }),
  markReady: z.object({
    ...container,
    mark: z.object({ generation: text, provision: text, readyAt: text, startedAt: text }),
  }),
  sshd: z.object({
    ...container,
    generation: name,
    port,
    clientKey: text,
    clientPublicKey: text,
    hostKey: text,
    hostPublicKey: text,
    knownHosts: text,
    listenAddresses: z.array(matching(/^[0-9A-Za-z.:-]+$/, "an address")),
  }),
  exec: z.object({
    ...container,
    argv: texts.check(z.minLength(1)),
    env,
    workdir: z.optional(text),
    user: z.optional(text),
    tty: z.boolean(),
    stdin: z.boolean(),
    timeoutMs: z.optional(milliseconds),
    graceMs: milliseconds,
  }),
  copyOut: z.object({ ...container, path }),
  copyIn: z.object({ ...container, directory: path }),
  logs: z.object({ ...container, tail: z.optional(z.int().check(z.nonnegative())), follow: z.boolean() }),
} satisfies Record<HostMethod, z.ZodMiniType>;

/** What a handler gets. */
export type Checked<M extends HostMethod> = z.infer<typeof SCHEMAS[M]>;

/** The parameters of `method`. Throws a {@linkcode Failure} that names every fault. */
export function checkParams<M extends HostMethod>(method: M, params: unknown): Checked<M> {
  const parsed = SCHEMAS[method].safeParse(params);
  if (parsed.success) return parsed.data as Checked<M>;
  const faults = parsed.error.issues.slice(0, 5).map(({ path, message }) => `${path.join(".")}: ${message}`);
  throw new Failure("DATAERR", `Cannot do "${method}": ${faults.join("; ")}`, { code: "bad_params" });
}
