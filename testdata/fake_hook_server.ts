/**
 * A hook server that does what it is told, for what the real one never or seldom does: streams that end anywhere,
 * frames that were released, silence, answers that are none. It writes frames by itself, so that a mistake in the
 * protocol's own encoder shows.
 *
 * @module
 */
import type { ServerAddress } from "../lib/hook/address.ts";

/** Kinds of frames, as the protocol has them. */
export const KIND = { stdout: 1, stderr: 2, notice: 3, end: 4, keepalive: 5 } as const;

/** What the server does with one request; undefined = 404. */
export type Handler = (request: Request, path: string) => Response | Promise<Response> | undefined;

/** A server on loopback. */
export interface FakeHookServer extends AsyncDisposable {
  readonly address: ServerAddress;
  /** `METHOD /path?query` of each request, in order. */
  readonly requests: string[];
}

/** One frame as bytes. */
export function frame(kind: number, seq: number, payload: string | Uint8Array = ""): Uint8Array<ArrayBuffer> {
  const body = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const bytes = new Uint8Array(16 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, kind);
  view.setUint32(4, body.length, true);
  view.setBigUint64(8, BigInt(seq), true);
  bytes.set(body, 16);
  return bytes;
}

/** Frames one after the other. */
export function joined(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The result of a job that ended with `code`. */
export function resultOf(id: string, code: number): Record<string, unknown> {
  return { schema: 1, id, code, signal: null, cause: "exit", fault: "script", evidence: [] };
}

/** Serves until it is disposed. */
export function fakeHookServer(handle: Handler): FakeHookServer {
  const requests: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const path = request.url.slice(request.url.indexOf("/", 8));
    requests.push(`${request.method} ${path}`);
    const answer = await handle(request, path);
    return answer ?? Response.json({ error: { code: "not_found", message: "no such job" } }, { status: 404 });
  });
  return {
    address: { transport: "tcp", hostname: "127.0.0.1", port: server.addr.port },
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
