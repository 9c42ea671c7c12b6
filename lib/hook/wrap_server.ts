/**
 * The hook server of a job, found through the state in a hook's input, and what it says of the last step.
 *
 * @module
 */
import { escapeControls } from "../host/logfmt.ts";
import { formatServer } from "./address.ts";
import { NoAnswer } from "./client.ts";
import type { Result } from "./protocol.ts";
import type { ServerWord } from "./wrap_verdict.ts";

/** Where the OSDC fork's hook says that the server is. */
export interface OsdcPlace {
  readonly hostname: string;
  readonly port: number;
  readonly token: string;
}

const ANSWER_MS = 3_000;
const ANSWER_LIMIT_CHARS = 1 << 20;

/** What a hook's input says: its command, and where the server is that an earlier command started. */
export function placeOf(input: string): { command: string | undefined; place: OsdcPlace | undefined } {
  let parsed: {
    command?: unknown;
    state?: { rpcPodIp?: unknown; rpcPort?: unknown; rpcToken?: unknown } | null;
  };
  try {
    parsed = JSON.parse(input) ?? {};
  } catch {
    return { command: undefined, place: undefined };
  }
  const { rpcPodIp, rpcPort, rpcToken } = parsed.state ?? {};
  const port = Number(rpcPort);
  const isPlace = typeof rpcPodIp === "string" && /^[0-9a-fA-F.:]+$/.test(rpcPodIp) && port > 0 &&
    port < 65_536 &&
    typeof rpcToken === "string" && /^[\x21-\x7e]+$/.test(rpcToken);
  return {
    command: typeof parsed.command === "string" ? escapeControls(parsed.command) : undefined,
    place: isPlace ? { hostname: rpcPodIp, port, token: rpcToken } : undefined,
  };
}

/** Asks for status and, where the server is davit's own, the result. Never throws for what the server does. */
export async function askServer(place: OsdcPlace): Promise<ServerWord> {
  try {
    const status = await get(place, "/status") as { id?: unknown; exit_code?: unknown } | null;
    if (status === null) return { kind: "none" };
    return {
      kind: "status",
      id: typeof status.id === "string" ? status.id : null,
      exitCode: typeof status.exit_code === "number" ? status.exit_code : null,
      result: await get(place, "/davit/result") as Result | null,
    };
  } catch (error) {
    const { hostname, port } = place;
    return {
      kind: "unreachable",
      server: formatServer({ transport: "tcp", hostname, port }),
      why: new NoAnswer(error).message,
    };
  }
}

/**
 * One GET by hand: fetch() would go through HTTP_PROXY, or say the whole URL in its first line, which the fork's
 * server takes for an unknown path. Null for any status but 200.
 */
async function get({ hostname, port, token }: OsdcPlace, path: string): Promise<unknown> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  using connection = await Deno.connect({ hostname, port, signal } as Deno.ConnectOptions);
  const close = () => connection.close();
  signal.addEventListener("abort", close);
  try {
    const head = [`GET ${path} HTTP/1.0`, `Host: ${hostname}`, `X-Auth-Token: ${token}`, "", ""].join("\r\n");
    const writer = connection.writable.getWriter();
    await writer.write(new TextEncoder().encode(head));
    writer.releaseLock();
    const text = await textOf(connection.readable);
    const [, status, body] = /^HTTP\/1\.[01] (\d{3})[^]*?\r\n\r\n([^]*)$/.exec(text) ?? [];
    if (status === undefined) throw new Error("it does not speak HTTP");
    return status === "200" ? JSON.parse(body!) : null;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", close);
  }
}

async function textOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > ANSWER_LIMIT_CHARS) throw new Error("its answer is too long");
  }
  return text + decoder.decode();
}
