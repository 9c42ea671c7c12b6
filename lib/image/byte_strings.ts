/**
 * Names inside an image are bytes, not text: they are carried as "binary strings", one character (0–255) per
 * byte, so that a name in any encoding survives and still works as a Map key. A decoded UTF-8 name would not:
 * U+FFFD replaces what is not UTF-8. (`TextDecoder("latin1")` is windows-1252 and changes 0x80–0x9f.)
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { escapeControls } from "../host/logfmt.ts";

const SHOWN_CHARS = 200;

/** The binary string of `bytes` from `start` to `end`; a fresh string that keeps no buffer alive. */
export function binaryOf(bytes: Uint8Array, start = 0, end = bytes.length): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

/** The bytes of a binary string. */
export function bytesOf(binary: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/** The binary string of a text's UTF-8 encoding. */
export function binaryOfText(text: string): string {
  return binaryOf(new TextEncoder().encode(text));
}

/**
 * A copy of `binary` that shares no memory with the string it was cut from: V8 keeps the whole parent alive for a
 * slice of 13 characters or more, which would hold every full path in memory for the sake of its last component.
 */
export function ownCopy(binary: string): string {
  return binary.length < 13 ? binary : Buffer.from(binary, "latin1").toString("latin1");
}

/** `binary` for a message: read as UTF-8, control characters escaped, cut when long. */
export function shown(binary: string): string {
  const text = escapeControls(new TextDecoder().decode(bytesOf(binary.slice(0, 4 * SHOWN_CHARS))));
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}
