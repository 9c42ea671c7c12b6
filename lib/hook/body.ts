/**
 * Reads a request's JSON body within its bound.
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

async function readText(request: Request): Promise<string> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_LIMIT_BYTES) throw tooLarge();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let [text, size] = ["", 0];
  try {
    for await (const piece of request.body ?? []) {
      size += piece.length;
      if (size > BODY_LIMIT_BYTES) throw tooLarge();
      text += decoder.decode(piece, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("DATAERR", "the body was cut, or is no UTF-8", { code: "bad_body", cause: error });
  }
}

function tooLarge(): Failure {
  return new Failure("DATAERR", `the body is larger than ${BODY_LIMIT_BYTES} bytes`, { code: "too_large" });
}
