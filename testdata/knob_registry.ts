/**
 * A registry on loopback that misbehaves on demand: it refuses, throttles, cuts, stalls, lies, redirects, and
 * notes every request. The good part follows the OCI distribution specification v1.1, "pull"; tokens follow
 * distribution's token specification. It stands on node:http because only there a connection can be cut at a
 * byte without noise.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { digestOf, type MadeImage } from "./make_image.ts";

/** A request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** How to misbehave; change it while the registry runs. Counters count down to zero. */
export interface Knobs {
  /** Every n-th request under /v2/ gets this answer instead. */
  failEvery?: { n: number; status: number; retryAfter?: string };
  /** The next `times` requests under /v2/ get this answer instead. */
  failNext?: { times: number; status: number; headers?: Record<string, string>; body?: string };
  /** The next `times` blob answers end, or stand still, after this many of their bytes. */
  cutAt?: { byte: number; times: number };
  stallAt?: { byte: number; times: number };
  /** The next `times` requests under /v2/ are never answered. */
  silent?: { times: number };
  /** The next `times` blob answers have one bit wrong. */
  spoil?: { times: number };
  /** Blobs are answered with 307 to this prefix. */
  redirectBlobs?: string;
  ignoreRange?: boolean;
  /** Who may read: with users only they, as "name:password". */
  auth?: { kind: "bearer" | "basic"; users?: readonly string[]; refreshToken?: string };
  /** A bearer token is good for this many requests. */
  tokenUses?: number;
  /** What the challenge names instead of our own token endpoint. */
  realm?: string;
  /** Sent with token answers. */
  expiresIn?: number;
  /** Manifests become this long, by blanks. */
  padManifests?: number;
  /** No Docker-Content-Digest header. */
  hideDigest?: boolean;
}

/** Bytes in memory, or a file of an image layout. */
type Content = Uint8Array | { path: string; size: number };

/** The running registry. */
export interface KnobRegistry extends AsyncDisposable {
  /** "127.0.0.1:41234". */
  readonly host: string;
  /** With scheme. */
  readonly origin: string;
  readonly knobs: Knobs;
  readonly seen: SeenRequest[];
  /** Serves an image under a tag, in any repository of that name. */
  add(repository: string, tag: string, image: Pick<MadeImage, "blobs" | "digest" | "mediaType">): void;
  /** Serves the images of an OCI layout directory under the tags its index names. */
  addLayout(repository: string, directory: string): Promise<void>;
  /** How many blob GETs of each digest arrived. */
  blobGets(): Map<string, number>;
}

/** Starts a registry on a free port. */
export async function startKnobRegistry(
  { knobs = {}, tls }: { knobs?: Knobs; tls?: { cert: string; key: string } } = {},
): Promise<KnobRegistry> {
  const store: Store = { blobs: new Map(), types: new Map(), tags: new Map() };
  const seen: SeenRequest[] = [];
  const tokens = new Map<string, number>();
  const state: State = { knobs, store, tokens, origin: "", count: 0 };
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    seen.push({
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers as Record<string, string | undefined>,
    });
    answer(request, response, state).catch((error) => response.destroy(error));
  };
  const server = tls ? createTlsServer(tls, handle) : createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  state.origin = `${tls ? "https" : "http"}://${host}`;
  return {
    host,
    origin: state.origin,
    knobs,
    seen,
    add(repository, tag, { blobs, digest, mediaType }) {
      for (const [key, bytes] of blobs) store.blobs.set(key, bytes);
      for (const [key, bytes] of blobs) rememberType(store, key, bytes);
      store.types.set(digest, mediaType);
      store.tags.set(`${repository}:${tag}`, digest);
    },
    addLayout: (repository, directory) => addLayout(store, repository, directory),
    blobGets() {
      const counts = new Map<string, number>();
      for (const { method, path } of seen) {
        const digest = /\/blobs\/(sha256:[0-9a-f]+)$/.exec(path)?.[1];
        if (method === "GET" && digest) counts.set(digest, (counts.get(digest) ?? 0) + 1);
      }
      return counts;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

interface Store {
  readonly blobs: Map<string, Content>;
  readonly types: Map<string, string>;
  readonly tags: Map<string, string>;
}

interface State {
  readonly knobs: Knobs;
  readonly store: Store;
  /** Uses left, by token. */
  readonly tokens: Map<string, number>;
  origin: string;
  count: number;
}

function rememberType({ types }: Store, digest: string, bytes: Uint8Array): void {
  if (bytes[0] !== 0x7b || bytes.length > 1 << 20) return;
  const { mediaType } = JSON.parse(new TextDecoder().decode(bytes));
  if (typeof mediaType === "string") types.set(digest, mediaType);
}

async function addLayout(store: Store, repository: string, directory: string): Promise<void> {
  for await (const { name } of Deno.readDir(`${directory}/blobs/sha256`)) {
    const path = `${directory}/blobs/sha256/${name}`;
    const { size } = await Deno.stat(path);
    store.blobs.set(`sha256:${name}`, { path, size });
  }
  const index = JSON.parse(await Deno.readTextFile(`${directory}/index.json`));
  for (const { digest, mediaType, annotations } of index.manifests) {
    store.types.set(digest, mediaType);
    store.tags.set(`${repository}:${annotations?.["org.opencontainers.image.ref.name"] ?? "latest"}`, digest);
  }
}

/** Whether a knob that counts down strikes now. */
function strikes(knob: { times: number } | undefined): boolean {
  return knob !== undefined && knob.times-- > 0;
}

async function answer(request: IncomingMessage, response: ServerResponse, state: State): Promise<void> {
  const { knobs } = state;
  const { pathname } = new URL(request.url ?? "/", state.origin);
  if (pathname === "/token") return await giveToken(request, response, state);
  if (strikes(knobs.silent)) return;
  const { failEvery, failNext } = knobs;
  if (failEvery && ++state.count % failEvery.n === 0) {
    const { status, retryAfter } = failEvery;
    return send(response, status, retryAfter === undefined ? {} : { "retry-after": retryAfter });
  }
  if (failNext && strikes(failNext)) {
    return send(response, failNext.status, failNext.headers ?? {}, failNext.body);
  }
  if (!isAllowed(request, state)) return challenge(response, state, pathname);
  const [, repository, kind, name] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
  if (kind === "manifests") return sendManifest(request, response, state, `${repository}:${name}`, name!);
  if (kind === "blobs") return await sendBlob(request, response, state, pathname, name!);
  send(response, pathname === "/v2/" ? 200 : 404, {});
}

function send(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: string | Uint8Array = "",
): void {
  response.writeHead(status, { "content-length": String(Buffer.byteLength(body)), ...headers });
  response.end(body);
}

function isAllowed(request: IncomingMessage, { knobs: { auth, tokenUses }, tokens }: State): boolean {
  if (!auth) return true;
  const given = request.headers.authorization ?? "";
  if (auth.kind === "basic") return isUser(given, auth.users);
  const token = given.replace(/^Bearer /, "");
  const left = tokens.get(token) ?? 0;
  if (tokenUses !== undefined) tokens.set(token, left - 1);
  return left > 0;
}

function isUser(authorization: string, users: readonly string[] = []): boolean {
  return users.some((user) => authorization === `Basic ${Buffer.from(user).toString("base64")}`);
}

function challenge(response: ServerResponse, { knobs, origin }: State, pathname: string): void {
  const scope = `repository:${/^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(pathname)?.[1]}:pull`;
  const bearer = `Bearer realm="${knobs.realm ?? `${origin}/token`}",service="knobs",scope="${scope}"`;
  send(response, 401, { "www-authenticate": knobs.auth?.kind === "basic" ? 'Basic realm="knobs"' : bearer });
}

async function giveToken(request: IncomingMessage, response: ServerResponse, state: State): Promise<void> {
  const { auth, tokenUses = Infinity, expiresIn } = state.knobs;
  if (request.method === "POST") {
    let body = "";
    for await (const chunk of request) body += chunk;
    const form = new URLSearchParams(body);
    const isGood = form.get("grant_type") === "refresh_token" &&
      form.get("refresh_token") === auth?.refreshToken;
    if (!isGood || !form.get("service") || !form.get("client_id")) return send(response, 401, {});
  } else if (auth?.users && !isUser(request.headers.authorization ?? "", auth.users)) {
    return send(response, 401, {});
  }
  const token = `token-${state.tokens.size + 1}`;
  state.tokens.set(token, tokenUses);
  send(
    response,
    200,
    { "content-type": "application/json" },
    JSON.stringify({ token, expires_in: expiresIn }),
  );
}

function sendManifest(
  request: IncomingMessage,
  response: ServerResponse,
  { knobs, store }: State,
  tagged: string,
  name: string,
): void {
  const digest = name.startsWith("sha256:") ? name : store.tags.get(tagged) ?? "";
  const content = store.blobs.get(digest);
  const type = store.types.get(digest) ?? "";
  // As Debian's docker-registry: who does not ask for the type gets nothing.
  if (content === undefined || !(request.headers.accept ?? "").includes(type)) return send(response, 404, {});
  let body = content instanceof Uint8Array ? content : Deno.readFileSync(content.path);
  if (knobs.padManifests) body = Buffer.concat([body, Buffer.alloc(knobs.padManifests - body.length, " ")]);
  if (strikes(knobs.spoil)) body = spoiled(body);
  response.writeHead(200, {
    "content-type": type,
    "content-length": String(body.length),
    ...(!knobs.hideDigest && { "docker-content-digest": knobs.padManifests ? digestOf(body) : digest }),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function spoiled(body: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(body);
  copy[copy.length - 1]! ^= 1;
  return copy;
}

async function sendBlob(
  request: IncomingMessage,
  response: ServerResponse,
  { knobs, store }: State,
  pathname: string,
  digest: string,
): Promise<void> {
  if (knobs.redirectBlobs) return send(response, 307, { location: `${knobs.redirectBlobs}${pathname}` });
  const content = store.blobs.get(digest);
  if (content === undefined) return send(response, 404, {});
  const size = content instanceof Uint8Array ? content.length : content.size;
  const from = knobs.ignoreRange ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (from > 0 && from >= size) return send(response, 416, { "content-range": `bytes */${size}` });
  response.writeHead(from > 0 ? 206 : 200, {
    "content-type": "application/octet-stream",
    "content-length": String(size - from),
    ...(from > 0 && { "content-range": `bytes ${from}-${size - 1}/${size}` }),
  });
  if (!(content instanceof Uint8Array)) {
    createReadStream(content.path, { start: from }).pipe(response);
    return;
  }
  const bytes = (strikes(knobs.spoil) ? spoiled(content) : content).subarray(from);
  const stop = strikes(knobs.cutAt) ? knobs.cutAt : strikes(knobs.stallAt) ? knobs.stallAt : undefined;
  if (stop === undefined || stop.byte >= bytes.length) return void response.end(bytes);
  await new Promise<void>((resolve) => response.write(bytes.subarray(0, stop.byte), () => resolve()));
  // The bytes must leave before the end of the connection overtakes them.
  if (stop === knobs.cutAt) setTimeout(() => response.socket?.destroy(), 5);
}
