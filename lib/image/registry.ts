/**
 * Pulls from a registry by the OCI distribution specification v1.1 ("Pull"), which Docker's registry API v2
 * agrees with. Everything that has a digest is checked against it, and everything has a size limit.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Failure } from "../failure.ts";
import type { Log } from "../host/log.ts";
import { assertAnswered } from "./answers.ts";
import { Authorizer } from "./authorizer.ts";
import { findCredentials } from "./credentials.ts";
import { type RetryOptions, TransientFault, withRetries } from "./fault.ts";
import { MANIFEST_TYPES, parseConfig, parseManifest } from "./manifest.ts";
import { chooseEntry, formatPlatform, platformFits, wrongArchitecture } from "./platform.ts";
import { formatReference, type Reference } from "./reference.ts";
import { type Answer, protocolFailure, Transport, type TransportOptions } from "./transport.ts";
import type { Descriptor, Platform, ResolvedImage } from "./types.ts";

const MAX_MANIFEST_BYTES = 4 << 20;
const MAX_CONFIG_BYTES = 8 << 20;

/** How to speak to a registry. */
export interface RegistryOptions extends TransportOptions, RetryOptions {
  /** Where credentials and certificates are looked for: HOME, XDG_CONFIG_HOME, DOCKER_CONFIG … */
  readonly env: Readonly<Record<string, string>>;
  readonly log: Log;
}

/** An image, and what its reference names. */
export interface Resolution extends ResolvedImage {
  /** Digest of what the reference names: of an index, where there is one. */
  readonly referenceDigest: string;
}

/** A blob on its way. */
export interface BlobStream {
  /** Of the blob's bytes, the number of the first to come: what was asked for, or 0. */
  readonly firstByte: number;
  /** Closed by its reader. */
  readonly chunks: AsyncIterable<Uint8Array> & { return(): Promise<unknown> };
}

/** Opens one blob from a byte on; one try, without patience. */
export type OpenBlob = (
  descriptor: Descriptor,
  fromByte: number,
  options: { signal: AbortSignal; isFresh: boolean },
) => Promise<BlobStream>;

/** Makes a client for the registry and repository of `reference`; nothing is sent yet. */
export async function openRegistry(reference: Reference, options: RegistryOptions): Promise<Registry> {
  return new Registry(reference, options, await Transport.open(options));
}

/** One repository of one registry; disposing it closes its connections. */
export class Registry implements Disposable {
  readonly #reference: Reference;
  readonly #options: RegistryOptions;
  readonly #transport: Transport;
  readonly #authorizer: Authorizer;
  readonly #base: string;
  readonly #name: string;

  constructor(reference: Reference, options: RegistryOptions, transport: Transport) {
    const { registry, repository, user } = reference;
    this.#reference = reference;
    this.#options = options;
    this.#transport = transport;
    this.#authorizer = new Authorizer({
      transport,
      registry,
      repository,
      find: findCredentials({ env: options.env, user, repository, log: options.log }),
    });
    this.#base = `${transport.baseUrl(registry)}/v2/${repository}`;
    this.#name = formatReference({ ...reference, user: undefined });
  }

  /** Finds the image for `platform`. */
  async resolve(platform: Platform): Promise<Resolution> {
    const { tag, digest } = this.#reference;
    const named = await this.#manifest(digest ?? tag ?? "latest", digest, this.#name);
    const referenceDigest = named.digest;
    let { document } = named;
    let imageDigest = referenceDigest;
    const isIndex = document.kind === "index";
    if (document.kind === "index") {
      const entry = chooseEntry(document.entries, platform, this.#name);
      ({ document, digest: imageDigest } = await this.#manifest(entry.digest, entry.digest, this.#name));
      if (document.kind === "index") {
        throw new Failure("DATAERR", `Cannot import "${this.#name}": its index points to another index`, {
          code: "unsupported_image",
          hint: "name the wanted image by its digest",
        });
      }
    }
    const { config: about, layers } = document;
    const configName = `the configuration of "${this.#name}"`;
    const bytes = await this.#small(`/blobs/${about.digest}`, about.digest, MAX_CONFIG_BYTES, configName);
    const config = parseConfig(bytes, layers.length, configName);
    if (!platformFits(config, platform)) {
      const offers = formatPlatform(config);
      if (!isIndex) throw wrongArchitecture(this.#name, platform, offers);
      // The index is what every runtime goes by.
      this.#options.log.warn("the image says of itself that it is for another platform", {
        image: this.#name,
        says: offers,
        wanted: formatPlatform(platform),
      });
    }
    return { digest: imageDigest, referenceDigest, config, layers };
  }

  /** What the reference's tag names now, by one request; undefined when the registry does not say. */
  async currentDigest(): Promise<string | undefined> {
    const { tag, digest } = this.#reference;
    if (digest !== undefined) return digest;
    const what = `look up "${this.#name}"`;
    return await withRetries(what, this.#options, async () => {
      const accept = MANIFEST_TYPES.join(", ");
      const answer = await this.#ask(`/manifests/${tag}`, { method: "HEAD", headers: { accept } });
      const current = answer.headers.get("docker-content-digest") ?? "";
      if (
        [405, 406].includes(answer.status) ||
        (answer.status === 200 && !/^sha256:[0-9a-f]{64}$/.test(current))
      ) {
        await answer.discard();
        this.#options.log.warn("the registry does not say which digest the tag has", {
          image: this.#name,
          status: answer.status,
        });
        return undefined;
      }
      await assertAnswered(answer, what);
      await answer.discard();
      return current;
    });
  }

  /** Opens a layer from a byte on. A server that cannot begin there begins at 0. */
  readonly openBlob: OpenBlob = async (descriptor, fromByte, { signal, isFresh }) => {
    const path = `/blobs/${descriptor.digest}`;
    const range = fromByte > 0 ? { range: `bytes=${fromByte}-` } : undefined;
    const what = `fetch a layer of "${this.#name}"`;
    let answer = await this.#ask(path, { headers: { ...range }, signal, isFresh });
    if (range && answer.status === 416) {
      await answer.discard();
      answer = await this.#ask(path, { signal, isFresh });
    }
    await assertAnswered(answer, what);
    const firstByte = answer.status === 206 ? rangeStart(answer, what) : 0;
    if (firstByte !== 0 && firstByte !== fromByte) {
      await answer.discard();
      throw protocolFailure(`Cannot ${what}: "${answer.host}" begins at another byte than was asked for`);
    }
    const length = Number(answer.headers.get("content-length") ?? NaN);
    if (!Number.isNaN(length) && length !== descriptor.sizeBytes - firstByte) {
      await answer.discard();
      const wanted = `${descriptor.sizeBytes - firstByte} were wanted`;
      throw new TransientFault(`"${answer.host}" offers ${length} bytes of a layer where ${wanted}`);
    }
    return { firstByte, chunks: answer.chunks() };
  };

  async #manifest(reference: string, digest: string | undefined, name: string) {
    const bytes = await this.#small(`/manifests/${reference}`, digest, MAX_MANIFEST_BYTES, `"${name}"`);
    return { document: parseManifest(bytes, `the manifest of "${name}"`), digest: sha256Of(bytes) };
  }

  /** A document with a digest; without one, the header's counts. A wrong one is fetched once more. */
  async #small(
    path: string,
    digest: string | undefined,
    limitBytes: number,
    name: string,
  ): Promise<Uint8Array> {
    const what = `fetch ${name}`;
    const headers = { accept: path.startsWith("/manifests/") ? MANIFEST_TYPES.join(", ") : "*/*" };
    let seen = "";
    for (const isFresh of [false, true]) {
      const { bytes, wanted } = await withRetries(what, this.#options, async () => {
        const answer = await this.#ask(path, { headers, isFresh });
        await assertAnswered(answer, what);
        const told = answer.headers.get("docker-content-digest");
        return {
          wanted: digest ?? (told?.startsWith("sha256:") ? told : undefined),
          bytes: await answer.bytes(limitBytes, name),
        };
      });
      seen = sha256Of(bytes);
      if (wanted === undefined || seen === wanted) return bytes;
      this.#options.log.warn("the registry sent bytes with another digest", { path, wanted, seen });
    }
    throw digestMismatch(name, seen);
  }

  async #ask(
    path: string,
    ask: {
      method?: "GET" | "HEAD";
      headers?: Record<string, string>;
      signal?: AbortSignal;
      isFresh?: boolean;
    },
  ): Promise<Answer> {
    const used = await this.#authorizer.header();
    const answer = await this.#transport.ask(`${this.#base}${path}`, { ...ask, authorization: used });
    // Only the registry itself may ask who we are, not a host that it redirects to.
    if (answer.status !== 401 || !answer.isOwnOrigin) return answer;
    await answer.discard();
    await this.#authorizer.renew(answer.headers.get("www-authenticate"), used);
    const authorization = await this.#authorizer.header();
    const again = await this.#transport.ask(`${this.#base}${path}`, { ...ask, authorization });
    if (!again.isOwnOrigin || (again.status !== 401 && again.status !== 403)) return again;
    await again.discard();
    throw this.#authorizer.denied(`it answered ${again.status}`);
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }
}

/** The failure for bytes that are not what their digest says, twice. */
export function digestMismatch(name: string, seen: string): Failure {
  return new Failure(
    "DATAERR",
    `Cannot use ${name}: its bytes have digest ${seen}, twice, not the one promised`,
    {
      code: "digest_mismatch",
      hint: "the registry's copy, or a proxy before it, is damaged",
    },
  );
}

function rangeStart(answer: Answer, what: string): number {
  const start = /^bytes (\d+)-/.exec(answer.headers.get("content-range") ?? "")?.[1];
  if (start === undefined) {
    throw protocolFailure(`Cannot ${what}: "${answer.host}" does not say which bytes it sends`);
  }
  return Number(start);
}

function sha256Of(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
