/**
 * The name of a container whose spec gives none: USER_IMAGE, readable, and different for different images.
 *
 * @module
 */
import { sha256 } from "./sha256.ts";

const PART_CHARS = 40;

/** Two images that only differ in signs (`a:b`, `a_b`) get the same readable part; the hash tells them apart. */
export async function defaultName(user: string, image: string): Promise<string> {
  const readable = image.replace(/@sha256:[0-9a-f]+$/, "");
  return `${plain(user)}_${plain(readable)}_${(await sha256(image)).slice(0, 8)}`;
}

function plain(text: string): string {
  return text.replace(/[^A-Za-z0-9]+/g, "_").replace(/^_+|_+$/g, "").slice(-PART_CHARS) || "x";
}
