/**
 * Requests to a hook server, one at a time: what comes back is an answer in JSON, a {@linkcode NoAnswer} that a later
 * try may mend, or a Failure. Nothing is tried twice here.
 *
 * @module
 */
import { EXIT, type ExitName, Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { escapeControls } from "../host/logfmt.ts";
import { formatServer, type ServerAddress } from "./address.ts";

/** How long one request may take. */
const ANSWER_MS = 10_000;
const ANSWER_LIMIT_BYTES = 8 << 20;
const SHOWN_CHARS = 200;

/** What is sent. */
export interface Ask {
  /** As JSON. */
  readonly body?: unknown;
  /** As they are, instead of it. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** An answer; `json` is null where the body is empty. */
export interface Answer {
  readonly status: number;
  readonly json: unknown;
}

/** No whole answer came: whether the request was carried out is not known. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  /** Nobody listens there: the request was certainly not carried out. */
  readonly isRefused: boolean;

  constructor(error: unknown) {
    super(describe(error), { cause: error });
    this.isRefused = ["ECONNREFUSED", "ENOENT"].includes(errnoOf(error) ?? "");
  }
}

/** One server, and what we show it. */
export class HookClient implements Disposable {
  /** For sentences. */
  readonly server: string;
  readonly #origin: string;
  readonly #token: string;
  readonly #http: Deno.HttpClient;
  #lastContactMs = performance.now();

  constructor({ address, token }: { address: ServerAddress; token: string }) {
    this.server = formatServer(address);
    this.#origin = `http://${address.transport === "tcp" ? this.server : "davit.invalid"}`;
    this.#token = token;
    // Also for TCP: named here, the address is used as it is, whatever HTTP_PROXY says. Each request has a connection
    // of its own: on one that was used before, fetch() would repeat a start by itself when it is cut (measured), also
    // on a server that was started since, and a reply that comes twice would answer the next request.
    this.#http = Deno.createHttpClient({ proxy: proxyOf(address), http2: false, poolMaxIdlePerHost: 0 });
  }

  [Symbol.dispose](): void {
    this.#http.close();
  }

  /** Milliseconds since the server was last heard. */
  get silentMs(): number {
    return performance.now() - this.#lastContactMs;
  }

  /** To be called when something came over a stream. */
  noteContact(): void {
    this.#lastContactMs = performance.now();
  }

  /** Sends one request and reads the whole answer. 401 is a Failure; every other status is the caller's. */
  async ask(
    method: string,
    path: string,
    { body, bytes, timeoutMs = ANSWER_MS, signal }: Ask = {},
  ): Promise<Answer> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const either = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
    const response = await this.open(method, path, {
      body,
      ...bytes === undefined ? {} : { bytes },
      signal: either,
    });
    try {
      const text = await textOf(response);
      if (response.status < 500) this.noteContact(); // the others may come from something in between
      return { status: response.status, json: text === "" ? null : JSON.parse(text) };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof SyntaxError) {
        throw this.protocolFailure(`an answer that is no JSON to ${method} ${path}`, error);
      }
      throw new NoAnswer(error);
    }
  }

  /** Sends one request; the body of the answer is the caller's to read or cancel. */
  async open(
    method: string,
    path: string,
    { body, bytes, signal }: Omit<Ask, "timeoutMs"> = {},
  ): Promise<Response> {
    const content = bytes ?? (body === undefined ? undefined : JSON.stringify(body));
    let response: Response;
    try {
      response = await fetch(this.#origin + path, {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...body === undefined ? {} : { "content-type": "application/json" },
          ...bytes === undefined ? {} : { "content-type": "application/octet-stream" },
        },
        ...content === undefined ? {} : { body: content },
        ...signal === undefined ? {} : { signal },
        redirect: "manual",
        client: this.#http,
      });
    } catch (error) {
      if (signal?.aborted && !isTimeout(signal.reason)) throw signal.reason;
      const text = messageOf(error instanceof Error ? error.cause : error);
      if (/invalid HTTP|parsed/.test(text)) throw this.protocolFailure("something else than HTTP", error);
      throw new NoAnswer(error);
    }
    if (response.status !== 401) return response;
    await response.body?.cancel();
    throw new Failure("NOPERM", `Cannot use server "${this.server}": it does not accept the token`, {
      code: "bad_token",
      hint: "give the file with which that server was started by --token-file",
    });
  }

  /** The Failure for an answer that means that the request was wrong, or the server in trouble. */
  failureOf(verb: string, { status, json }: Answer): Failure {
    const { code, message, hint } = errorOf(json);
    const exit: ExitName = status === 409 || status === 429 || status === 503
      ? "TEMPFAIL"
      : status === 404 || status === 410
      ? "NOINPUT"
      : status >= 400 && status < 500
      ? "DATAERR"
      : "UNAVAILABLE";
    const what = message ?? `it answers with status ${status}`;
    return new Failure(exit, `Cannot ${verb} on server "${this.server}": ${what}`, {
      code: code ?? `http_${status}`,
      ...hint === undefined ? {} : { hint },
    });
  }

  /** The Failure for a server that cannot be reached. */
  unreachable(cause: NoAnswer): Failure {
    return new Failure(EXIT.UNAVAILABLE, `Cannot reach server "${this.server}": ${cause.message}`, {
      code: "server_unreachable",
      hint: "start `davit hook serve` in the job container, or give its address by --server",
      cause,
    });
  }

  protocolFailure(what: string, cause?: unknown): Failure {
    return new Failure(
      "PROTOCOL",
      `Cannot use server "${this.server}": it sent ${what}, this is no davit hook server`,
      {
        code: "not_a_hook_server",
        cause,
      },
    );
  }
}

/** An IPv6 address must stand in brackets there, as nowhere else in Deno. */
function proxyOf(address: ServerAddress): ServerAddress {
  if (address.transport === "unix" || !address.hostname.includes(":")) return address;
  return { ...address, hostname: `[${address.hostname}]` };
}

async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of response.body ?? []) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > ANSWER_LIMIT_BYTES) throw new SyntaxError(`more than ${ANSWER_LIMIT_BYTES} bytes`);
  }
  return text + decoder.decode();
}

/** `{"error":{"code","message","hint"}}`; a foreign server's answer gives none of the three. */
function errorOf(json: unknown): { code?: string; message?: string; hint?: string } {
  const error = (json as { error?: unknown } | null)?.error;
  if (typeof error !== "object" || error === null) return {};
  const entries = Object.entries(error).filter(([, value]) => typeof value === "string");
  return Object.fromEntries(entries.map(([key, value]) => [key, oneLine(value)]));
}

function describe(error: unknown): string {
  const errno = errnoOf(error);
  if (errno === "ECONNREFUSED") return "nobody listens there";
  if (errno === "ENOENT") return "there is no such socket";
  if (errno === "EACCES") return "its socket may not be used by this user";
  if (isTimeout(error)) return "no answer came in time";
  const text = messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
  if (/dns error/.test(text)) return "its host name is not known";
  if (/closed before|reading a body|SendRequest/.test(text)) return "the connection was cut";
  return oneLine(text.slice(0, SHOWN_CHARS));
}

/** Text of another program as a part of a sentence; quotes stay as they are. */
function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what must not reach a terminal
  return /[\u0000-\u001f\u007f-\u009f]/.test(text) ? escapeControls(text) : text;
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}
