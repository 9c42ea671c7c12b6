/**
 * Reads a request's body within its bound.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { BODY_LIMIT_BYTES } from "./protocol.ts";

/** The body; undefined where there is none. Throws a Failure (`too_large`, `bad_json`, `bad_body`). */
export async function readJson(request: Request): Promise<unknown> {
  const text = await readText(request);
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure("DATAERR", `the body is no JSON: ${(error as Error).message}`, { code: "bad_json" });
  }
}

/** The body as it is. Throws a Failure (`too_large`, `bad_body`). */
export async function readBytes(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  await readPieces(request, (piece) => pieces.push(piece));
  return await new Blob(pieces).bytes();
}

async function readText(request: Request): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  await readPieces(request, (piece) => text += decoder.decode(piece, { stream: true }));
  return text + decoder.decode();
}

async function readPieces(request: Request, take: (piece: Uint8Array<ArrayBuffer>) => void): Promise<void> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_LIMIT_BYTES) throw tooLarge();
  let size = 0;
  try {
    for await (const piece of request.body ?? []) {
      size += piece.length;
      if (size > BODY_LIMIT_BYTES) throw tooLarge();
      take(piece);
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("DATAERR", "the body was cut, or is no UTF-8", { code: "bad_body", cause: error });
  }
}

function tooLarge(): Failure {
  return new Failure("DATAERR", `the body is larger than ${BODY_LIMIT_BYTES} bytes`, { code: "too_large" });
}
