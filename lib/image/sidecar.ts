/**
 * `FILE.json` beside an image: what was published, so that a later look needs neither the network nor a child
 * process. It names its image by the superblock, hence a sidecar left from another image is seen as such.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";

/** The content of a sidecar. Fields in snake_case: other programs read it. */
export interface Sidecar {
  readonly schema: 1;
  /** As it was asked for. */
  readonly uri?: string | undefined;
  /** Digest of the platform's manifest; absent when davit only adopted an image that something else made. */
  readonly digest?: string | undefined;
  /** Digest that the reference itself had then: of an index, where there was one. */
  readonly reference_digest?: string | undefined;
  readonly platform?: string | undefined;
  readonly size: number;
  readonly bytes_used: number;
  readonly mkfs_time: number;
  /** The first 96 bytes, hexadecimal. */
  readonly superblock: string;
  /** SHA-256 of the last 64 KiB. */
  readonly tail_sha256: string;
  /** SHA-256 of the whole file. */
  readonly sha256?: string | undefined;
  readonly engine?: string | undefined;
  readonly compression?: string | undefined;
  readonly davit: string;
  readonly host: string;
  readonly uid: number | null;
  readonly slurm_job?: string | undefined;
  /** RFC 3339. */
  readonly published: string;
  readonly seconds?: number | undefined;
}

/** Where the sidecar of an image is. */
export function sidecarPath(imagePath: string): string {
  return `${imagePath}.json`;
}

/** Reads the sidecar; undefined when there is none or it is not one. Other errors pass through. */
export async function readSidecar(imagePath: string): Promise<Sidecar | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(sidecarPath(imagePath));
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "EISDIR") return undefined;
    throw error;
  }
  try {
    const value = JSON.parse(text);
    return isSidecar(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** By hand: this is on the path of a warm hit, where zod would cost more than all the rest. */
function isSidecar(value: unknown): value is Sidecar {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  const optional = ["uri", "digest", "reference_digest", "platform", "sha256"];
  return fields.schema === 1 && Number.isSafeInteger(fields.size) &&
    typeof fields.superblock === "string" && typeof fields.tail_sha256 === "string" &&
    optional.every((name) => fields[name] === undefined || typeof fields[name] === "string");
}
