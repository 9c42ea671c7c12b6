/**
 * Requests and responses as the OSDC fork's server reads and writes them.
 *
 * @module
 */

/** The fork sets no limit; nothing but an id and a path is ever sent. */
const BODY_LIMIT_CHARS = 8 << 20;

/** A reply in JSON, to be sent more than once. */
export interface Reply {
  readonly status: number;
  readonly body: string;
}

/** The response for it. */
export function reply({ status, body }: Reply): Response {
  return json(status, body);
}

/** JSON text as it is to be sent. */
export function json(status: number, body: string): Response {
  return new Response(body, { status, headers: { "content-type": "application/json" } });
}

/** No body. */
export function empty(status: number): Response {
  return new Response(null, { status });
}

/** The body as text, or undefined when it is too long, cut or no UTF-8. */
export async function textOf(request: Request): Promise<string | undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  try {
    for await (const piece of request.body ?? []) {
      text += decoder.decode(piece, { stream: true });
      if (text.length > BODY_LIMIT_CHARS) return undefined;
    }
    return text + decoder.decode();
  } catch {
    return undefined;
  }
}

/** The first value of that name, as it stands there. */
export function queryValue(url: string, name: string): string | undefined {
  const query = url.slice(url.indexOf("?") + 1);
  const pairs = url.includes("?") ? query.split("&").map((pair) => pair.split(/=(.*)/s)) : [];
  return pairs.find(([key, value]) => key === name && value !== undefined)?.[1];
}
