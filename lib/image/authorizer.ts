/**
 * Gets and renews what a registry wants in the Authorization header: a bearer token from the realm that its
 * challenge names (distribution's token specification; OAuth2 for identity tokens), or basic credentials.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { FoundCredentials } from "./credentials.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { assertAnswered } from "./answers.ts";
import { protocolFailure, type Transport } from "./transport.ts";

/** Of tokens whose answer does not say, by the specification. */
const DEFAULT_LIFE_SECONDS = 60;
const MAX_TOKEN_ANSWER_BYTES = 1 << 20;

/** What an authorizer works for. */
export interface AuthorizerOptions {
  readonly transport: Transport;
  /** The registry's host. */
  readonly registry: string;
  readonly repository: string;
  readonly find: (host: string) => Promise<FoundCredentials | undefined>;
}

/** Holds the header that works now; any number of requests may share one. */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  #challenges: readonly Challenge[] = [];
  #header: string | undefined;
  /** By performance.now(). */
  #expiresAtMs = Infinity;
  #renewal: Promise<void> | undefined;
  /** Which file the credentials came from, once looked for. */
  file: string | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** The header to send, renewed when it is about to expire; undefined as long as nothing was asked for. */
  async header(): Promise<string | undefined> {
    if (performance.now() >= this.#expiresAtMs) await this.#renewOnce();
    return this.#header;
  }

  /** After a 401 with `challenge` for a request that sent `used`: gets a new header. */
  async renew(challenge: string | null, used: string | undefined): Promise<void> {
    // Others sent the same stale token; the first of them has renewed it for all.
    if (this.#header !== used) return;
    const challenges = parseChallenges(challenge ?? "");
    if (challenges.length > 0) this.#challenges = challenges;
    await this.#renewOnce();
  }

  #renewOnce(): Promise<void> {
    this.#renewal ??= this.#renew().finally(() => this.#renewal = undefined);
    return this.#renewal;
  }

  async #renew(): Promise<void> {
    const bearer = this.#challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer) return await this.#renewToken(bearer);
    if (!this.#challenges.some(({ scheme }) => scheme === "basic")) {
      throw protocolFailure(
        `Cannot log in at registry "${this.#options.registry}": it wants no method known here`,
        {
          hint: "bearer tokens and basic credentials are known",
        },
      );
    }
    const found = await this.#find(this.#options.registry);
    if (found?.credentials.kind !== "basic") throw this.denied("it wants a name and a password");
    this.#header = basicHeader(found.credentials);
  }

  async #renewToken(challenge: Challenge): Promise<void> {
    const { transport, registry } = this.#options;
    const realm = challenge.parameters.get("realm") ?? "";
    const url = transport.checkUrl(realm, undefined, `the token address that "${registry}" names`);
    const found = await this.#find(registry) ?? await this.#find(url.host);
    if (found?.credentials.kind === "bearer") {
      this.#header = bearerHeader(found.credentials.token, registry);
      return;
    }
    const answer = await this.#askToken(url, challenge, found);
    if (answer.status === 401 || answer.status === 403) {
      await answer.discard();
      throw this.denied(`"${url.host}" gives no token`);
    }
    await assertAnswered(answer, `get a token from "${url.host}"`);
    const bytes = await answer.bytes(MAX_TOKEN_ANSWER_BYTES, `the token answer of "${url.host}"`);
    const { token, lifeSeconds } = readToken(bytes, url.host);
    this.#header = bearerHeader(token, url.host);
    // A tenth early: clocks differ and requests take time.
    this.#expiresAtMs = performance.now() + lifeSeconds * 900;
  }

  #askToken(url: URL, { parameters }: Challenge, found: FoundCredentials | undefined) {
    const { transport, repository } = this.#options;
    const service = parameters.get("service");
    const scope = `repository:${repository}:pull`;
    if (found?.credentials.kind === "identity") {
      const body = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: found.credentials.token,
        client_id: "davit",
        scope,
        ...(service && { service }),
      });
      return transport.ask(url, { method: "POST", body });
    }
    if (service) url.searchParams.set("service", service);
    url.searchParams.set("scope", scope);
    const authorization = found?.credentials.kind === "basic" ? basicHeader(found.credentials) : undefined;
    return transport.ask(url, { authorization });
  }

  async #find(host: string): Promise<FoundCredentials | undefined> {
    const found = await this.#options.find(host);
    if (found) this.file = found.file;
    return found;
  }

  /** The failure for a registry that will not let us in. */
  denied(reason: string): Failure {
    const { registry, repository } = this.#options;
    return new Failure("NOPERM", `Cannot read "${repository}" at registry "${registry}": ${reason}`, {
      code: "registry_denied",
      hint: this.file === undefined
        ? "no credentials were found: put them into ~/.config/enroot/.credentials or ~/.docker/config.json; " +
          "registries answer the same for images that do not exist"
        : `the credentials in "${this.file}" are not enough, or the image does not exist`,
    });
  }
}

function basicHeader({ username, password }: { username: string; password: string }): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

function bearerHeader(token: string, from: string): string {
  // Anything else could smuggle a header; RFC 6750 allows less than this.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw protocolFailure(`Cannot use the token of "${from}": it has bad characters`);
  }
  return `Bearer ${token}`;
}

function readToken(bytes: Uint8Array, host: string): { token: string; lifeSeconds: number } {
  let document: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null;
  try {
    document = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw protocolFailure(`Cannot read the token answer of "${host}": it is not JSON`);
  }
  const token = document?.token || document?.access_token;
  if (typeof token !== "string") {
    throw protocolFailure(`Cannot read the token answer of "${host}": it has no token`);
  }
  const life = Number(document?.expires_in ?? DEFAULT_LIFE_SECONDS);
  return { token, lifeSeconds: life > 0 ? life : DEFAULT_LIFE_SECONDS };
}
