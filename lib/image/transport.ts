/**
 * One HTTP exchange done right: https unless a host is allowed without, redirects followed by hand so that
 * credentials stay with the host they are for, a limit on silence, bounded bodies, and errors told apart into
 * what another try may cure (TransientFault) and what not (Failure). Proxies are Deno's business: it follows
 * HTTPS_PROXY and NO_PROXY.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";
import { formatBytes, formatDuration } from "../units.ts";
import { TransientFault } from "./fault.ts";
import { readTrust, type TrustOptions } from "./trust.ts";

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

/** How a transport behaves. */
export interface TransportOptions extends TrustOptions {
  /** HOST or HOST:PORT that is spoken to without TLS. */
  readonly allowHttp: readonly string[];
  /** Silence after which an exchange is given up. */
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** What to send. */
export interface Ask {
  readonly method?: "GET" | "HEAD" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  /** The Authorization header; it goes to the first URL's origin and nowhere else. */
  readonly authorization?: string | undefined;
  readonly body?: URLSearchParams;
  /** Not over a connection that was used before. */
  readonly isFresh?: boolean;
  /** Beside the transport's own. */
  readonly signal?: AbortSignal | undefined;
}

/** A body as it comes. Whoever does not read it to its end calls `return`, as `for await` does. */
export interface Chunks extends AsyncIterableIterator<Uint8Array, undefined, undefined> {
  return(): Promise<IteratorReturnResult<undefined>>;
}

/** What came back, of any status. Exactly one of `chunks`, `bytes` and `discard` must be used. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Who answered, after redirects: host or host:port. */
  readonly host: string;
  /** Whether that is the origin that was asked. */
  readonly isOwnOrigin: boolean;
  /** The body as it comes; ends with a TransientFault when it is cut or stalls. */
  chunks(): Chunks;
  /** The whole body, or a Failure when it is larger than `limitBytes`; `what` names it. */
  bytes(limitBytes: number, what: string): Promise<Uint8Array>;
  discard(): Promise<void>;
}

/** Whether plain http may be used for `host` ("h" or "h:5000"). */
export function isHttpAllowed(host: string, allowHttp: readonly string[]): boolean {
  return allowHttp.some((allowed) => [host, host.replace(/:\d+$/, "")].includes(allowed.toLowerCase()));
}

/** Connections to registries; disposing it closes them. */
export class Transport implements Disposable {
  readonly #options: TransportOptions;
  readonly #pooled: Deno.HttpClient;
  readonly #unpooled: Deno.HttpClient;

  private constructor(options: TransportOptions, caCerts: string[]) {
    this.#options = options;
    this.#pooled = Deno.createHttpClient({ caCerts });
    this.#unpooled = Deno.createHttpClient({ caCerts, poolMaxIdlePerHost: 0 });
  }

  /** Reads what is to be trusted; throws a Failure when `--ca-file` cannot be used. */
  static async open(options: TransportOptions): Promise<Transport> {
    return new Transport(options, await readTrust(options));
  }

  /** The base URL of a registry. */
  baseUrl(host: string): string {
    return `${isHttpAllowed(host, this.#options.allowHttp) ? "http" : "https"}://${host}`;
  }

  /** Throws a Failure unless `text` is a URL that we may speak to; `source` says who named it. */
  checkUrl(text: string, base: string | undefined, source: string): URL {
    const url = URL.parse(text, base);
    if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password) {
      throw protocolFailure(`Cannot follow ${source}: it is no usable http or https address`);
    }
    if (url.protocol === "http:" && !isHttpAllowed(url.host, this.#options.allowHttp)) {
      throw protocolFailure(`Cannot follow ${source}: "${url.host}" would be spoken to without TLS`, {
        hint: `--allow-http ${url.host} permits it`,
      });
    }
    return url;
  }

  /** Asks and follows redirects. Throws a TransientFault or a Failure when nobody answers. */
  async ask(address: string | URL, ask: Ask = {}): Promise<Answer> {
    const first = new URL(address);
    let url = first;
    for (let redirects = 0;; redirects++) {
      const answer = await this.#exchange(url, first.origin === url.origin, ask);
      const location = REDIRECTS.includes(answer.status) ? answer.headers.get("location") : null;
      if (location === null) return answer;
      await answer.discard();
      if (ask.method === "POST") throw protocolFailure(`Cannot ask "${url.host}" for a token: it redirects`);
      if (redirects === MAX_REDIRECTS) {
        throw protocolFailure(`Cannot follow the redirects of "${first.host}": more than ${MAX_REDIRECTS}`);
      }
      url = this.checkUrl(location, url.href, `a redirect of "${url.host}"`);
    }
  }

  async #exchange(url: URL, isOwnOrigin: boolean, ask: Ask): Promise<Answer> {
    const { method = "GET", headers = {}, authorization, body, isFresh = false } = ask;
    const signals = [this.#options.signal, ...ask.signal ? [ask.signal] : []];
    const guard = new StallGuard(url.host, this.#options.stallTimeoutMs, signals);
    try {
      const response = await guard.during(fetch(url, {
        method,
        headers: {
          // Stored bytes are what digests are of; Deno would unpack a coding it had asked for.
          "accept-encoding": "identity",
          "user-agent": "davit",
          ...headers,
          ...(isOwnOrigin && authorization && { authorization }),
        },
        body: body ?? null,
        redirect: "manual",
        client: isFresh ? this.#unpooled : this.#pooled,
        signal: guard.signal,
      }));
      return answerOf(response, url.host, isOwnOrigin, guard);
    } catch (error) {
      throw guard.translate(error, (cause) => connectFault(cause, url));
    }
  }

  [Symbol.dispose](): void {
    this.#pooled.close();
    this.#unpooled.close();
  }
}

/** Ends an exchange on which nothing happens while somebody waits for it. */
class StallGuard {
  readonly #host: string;
  readonly #timeoutMs: number;
  readonly #outer: readonly AbortSignal[];
  readonly #stall = new AbortController();
  readonly signal: AbortSignal;

  constructor(host: string, timeoutMs: number, outer: readonly AbortSignal[]) {
    this.#host = host;
    this.#timeoutMs = timeoutMs;
    this.#outer = outer;
    this.signal = AbortSignal.any([...outer, this.#stall.signal]);
  }

  /** The clock runs only here: a slow disk of ours is not the registry's silence. */
  async during<T>(work: Promise<T>): Promise<T> {
    const silence = `"${this.#host}" sent nothing for ${formatDuration(this.#timeoutMs)}`;
    const timer = setTimeout(() => this.#stall.abort(new TransientFault(silence)), this.#timeoutMs);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }

  /** What to throw for `error`: the reason of an abort, or what `otherwise` makes of it. */
  translate(error: unknown, otherwise: (error: unknown) => unknown): unknown {
    const stopped = this.#outer.find(({ aborted }) => aborted);
    if (stopped) return stopped.reason;
    if (error instanceof TransientFault || error instanceof Failure) return error;
    return error instanceof TypeError ? otherwise(error) : error;
  }
}

/** A body's chunks. No generator: its cleanup would not run before its first chunk was asked for. */
class BodyChunks implements Chunks {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #host: string;
  readonly #guard: StallGuard;

  constructor(body: ReadableStream<Uint8Array> | null, host: string, guard: StallGuard) {
    this.#reader = body?.getReader();
    this.#host = host;
    this.#guard = guard;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#reader) return { done: true, value: undefined };
    try {
      const { done, value } = await this.#guard.during(this.#reader.read());
      return done ? { done, value: undefined } : { done, value };
    } catch (error) {
      await this.return();
      throw this.#guard.translate(error, (cause) => {
        return new TransientFault(`"${this.#host}" cut the connection`, { cause });
      });
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    // It rejects with the error that is on its way already.
    await this.#reader?.cancel().catch(() => {});
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function answerOf(response: Response, host: string, isOwnOrigin: boolean, guard: StallGuard): Answer {
  const chunks = () => new BodyChunks(response.body, host, guard);
  return {
    status: response.status,
    headers: response.headers,
    host,
    isOwnOrigin,
    chunks,
    async bytes(limitBytes, what) {
      const parts: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of chunks()) {
        parts.push(chunk);
        length += chunk.length;
        if (length > limitBytes) {
          throw protocolFailure(`Cannot read ${what}: it is larger than ${formatBytes(limitBytes)}`);
        }
      }
      return await new Blob(parts as Uint8Array<ArrayBuffer>[]).bytes();
    },
    async discard() {
      // An error here is of an exchange that nobody wants any more.
      await response.body?.cancel().catch(() => {});
    },
  };
}

/** Names a failed connection without the address, which may carry a signed query. */
function connectFault(error: unknown, { host, hostname }: URL): unknown {
  const text = error instanceof Error && error.cause !== undefined
    ? messageOf(error.cause)
    : messageOf(error);
  const [, stage, detail] = /client error \((\w+)\): (.*)$/s.exec(text) ?? [];
  const reason = escapeControls((detail ?? text.replace(/\bhttps?:\/\/\S+/g, `"${host}"`)).slice(0, 300));
  if (/invalid peer certificate/.test(text)) {
    return unreachable(host, reason, "registry_untrusted", {
      hint: /UnknownIssuer|CaUsed/.test(text)
        ? "--ca-file PEM names the authority that signed the registry's certificate"
        : "the registry's certificate does not fit its name or the time; check this host's clock",
    });
  }
  if (/InvalidContentType/.test(text)) {
    return unreachable(host, "it does not speak TLS", "registry_untrusted", {
      hint: `--allow-http ${host} permits plain http`,
    });
  }
  if (/invalid HTTP version parsed/.test(text)) {
    return unreachable(host, "it does not speak plain http", "registry_unreachable", {
      hint: "perhaps it speaks TLS: leave --allow-http out",
    });
  }
  if (/Name or service not known|No address associated/.test(text)) {
    return unreachable(host, `no address is known for "${hostname}"`, "registry_unreachable", {
      hint: "check the registry's name and this host's DNS",
    });
  }
  if (/are blocked$/.test(text)) return unreachable(host, reason, "registry_unreachable", {});
  // Every network error is a "fetch failed"; another TypeError is a fault of ours.
  if (stage === undefined && !(error instanceof Error && error.message === "fetch failed")) return error;
  // Without its cause: that has the address.
  return new TransientFault(`"${host}" cannot be reached: ${reason}`, { wasConnected: stage !== "Connect" });
}

function unreachable(host: string, reason: string, code: string, { hint }: { hint?: string }): Failure {
  return new Failure("UNAVAILABLE", `Cannot reach registry "${host}": ${reason}`, { code, hint });
}

/** The failure for an answer that makes no sense. */
export function protocolFailure(
  message: string,
  { hint, cause }: { hint?: string; cause?: unknown } = {},
): Failure {
  return new Failure("PROTOCOL", message, { code: "registry_protocol", hint, cause });
}
