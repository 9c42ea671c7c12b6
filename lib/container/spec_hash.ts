/**
 * The canonical form of a spec: what a container was made from, as one JSON text that is kept in its labels, and the
 * hash of it. Equal specs give equal texts, whichever file or flags they came from, in whatever order.
 *
 * @module
 */
import { sha256 } from "./sha256.ts";
import { PACKAGED, PACKAGED_HASH } from "./spec_setup.ts";
import type { ContainerSpec } from "./spec.ts";

/** See the module's description. `hash` is over the whole, also where `json` had to be left out. */
export interface CanonicalSpec {
  /** Empty where it is too long for a label: then a difference is seen, but not where. */
  readonly json: string;
  /** SHA-256 in hex. */
  readonly hash: string;
}

/** A word of a command line may have 128 KiB (MAX_ARG_STRLEN), and labels are given as such words. */
const JSON_LIMIT_BYTES = 96 << 10;
/** Longer texts are kept as their hash. */
const TEXT_LIMIT_CHARS = 256;
const SECRET_NAME_REGEXP = /token|secret|pass|pwd|key|credential|auth|cookie|private|signature/i;
/** User and password in a URL. */
const SECRET_VALUE_REGEXP = /:\/\/[^/\s@]*:[^/\s@]*@/;

/**
 * What is not in it, and why. A spec may change in these and still be met by the container that is there:
 * - where it runs and how it is reached: `hosts`, `fanOut`, `sudo`; the label `davit.name` has the name
 * - how the image comes: `registry` (credentials), `imageTar`, `pull`; its digest is compared by itself
 * - what davit does by itself at each start: `everyStart`, `sshd`, `startTimeoutMs`
 * - `leaseMs`: how long it is kept
 */
export async function canonicalSpec(spec: ContainerSpec): Promise<CanonicalSpec> {
  const { setup } = spec;
  const env = await Promise.all(
    Object.keys(spec.env).sort().map(async (name) => [name, await keptValue(name, spec.env[name]!)] as const),
  );
  const fields = {
    image: spec.image,
    lifetime: spec.lifetime,
    runtime: spec.runtime,
    env: Object.fromEntries(env),
    envFiles: [...spec.envFiles],
    volumes: sorted(spec.volumes),
    devices: sorted(spec.devices),
    gpus: spec.gpus,
    capAdd: sorted(spec.capAdd),
    securityOpt: sorted(spec.securityOpt),
    groupAdd: sorted(spec.groupAdd),
    ulimits: sorted(spec.ulimits),
    network: spec.network,
    ipc: spec.ipc,
    pid: spec.pid,
    hostname: spec.hostname,
    privileged: spec.privileged,
    shmSizeBytes: spec.shmSizeBytes,
    init: spec.init,
    entrypoint: spec.entrypoint === undefined ? "of the image" : await keptWords(spec.entrypoint),
    command: await keptWords(spec.command),
    user: spec.user,
    workdir: spec.workdir,
    restart: spec.restart,
    setup: setup?.sha256 === PACKAGED_HASH ? PACKAGED : setup && `sha256:${setup.sha256}`,
  };
  // A davit that knows one more field finds no drift in what an older one made: what is not set is left out.
  const set = Object.entries(fields).filter(([, value]) =>
    value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0)
  );
  const json = JSON.stringify(Object.fromEntries(set));
  return {
    json: new TextEncoder().encode(json).length > JSON_LIMIT_BYTES ? "" : json,
    hash: await sha256(json),
  };
}

/** The hash of a secret tells no more than `inspect` on that host, which has the environment itself. */
async function keptValue(name: string, value: string): Promise<string> {
  const isSecret = SECRET_NAME_REGEXP.test(name) || SECRET_VALUE_REGEXP.test(value);
  return isSecret || value.length > TEXT_LIMIT_CHARS ? await hashed(value) : value;
}

async function keptWords(words: readonly string[]): Promise<string[]> {
  return await Promise.all(words.map((word) => word.length > TEXT_LIMIT_CHARS ? hashed(word) : word));
}

async function hashed(text: string): Promise<string> {
  return `sha256:${await sha256(text)}`;
}

/** Order has no meaning in these, and twice is once. */
function sorted(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}
