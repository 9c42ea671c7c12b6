/**
 * SHA-256 of a text.
 *
 * @module
 */

/** Of the UTF-8 bytes, in hex. */
export async function sha256(text: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}
