/**
 * Makes small container images in memory: tar, gzip, configuration, manifest, index. Only for tests; names and
 * sizes must fit a plain ustar header.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";

/** Content by digest, and what points at it. */
export interface MadeImage {
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  /** The manifest's, or the index's. */
  readonly digest: string;
  readonly mediaType: string;
  readonly layers: readonly { mediaType: string; digest: string; size: number }[];
}

const OCI = "application/vnd.oci.image";

/** "sha256:…" of some bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A tar of regular files by name. */
export function tarOf(files: Readonly<Record<string, string | Uint8Array>>): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const [name, content] of Object.entries(files)) {
    const body = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const header = new Uint8Array(512);
    const put = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
    const octal = (value: number, width: number) => value.toString(8).padStart(width - 1, "0");
    put(0, name);
    put(100, octal(0o644, 8));
    put(108, octal(0, 8));
    put(116, octal(0, 8));
    put(124, octal(body.length, 12));
    put(136, octal(1_700_000_000, 12));
    put(148, " ".repeat(8));
    put(156, "0");
    put(257, "ustar\0" + "00");
    put(148, `${octal(header.reduce((sum, byte) => sum + byte, 0), 7)}\0`);
    blocks.push(header, body, new Uint8Array((512 - body.length % 512) % 512));
  }
  return joined([...blocks, new Uint8Array(1024)]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** An OCI image whose layers are these tars, gzipped. */
export function makeImage(
  tars: readonly Uint8Array[],
  { os = "linux", architecture = "amd64", config = {} }: {
    os?: string;
    architecture?: string;
    config?: Readonly<Record<string, unknown>>;
  } = {},
): MadeImage {
  const blobs = new Map<string, Uint8Array>();
  const layers = tars.map((tar) => {
    const bytes = new Uint8Array(gzipSync(tar, { level: 1 }));
    return describe(blobs, bytes, `${OCI}.layer.v1.tar+gzip`);
  });
  const rootfs = { type: "layers", diff_ids: tars.map(digestOf) };
  const about = describe(blobs, json({ os, architecture, config, rootfs }), `${OCI}.config.v1+json`);
  const mediaType = `${OCI}.manifest.v1+json`;
  const manifest = json({ schemaVersion: 2, mediaType, config: about, layers });
  return { blobs, digest: describe(blobs, manifest, mediaType).digest, mediaType, layers };
}

/** An index over images by platform ("linux/arm64/v8"). */
export function makeIndex(images: Readonly<Record<string, MadeImage>>): MadeImage {
  const blobs = new Map<string, Uint8Array>();
  const manifests = Object.entries(images).map(([name, image]) => {
    for (const [digest, bytes] of image.blobs) blobs.set(digest, bytes);
    const [os, architecture, variant] = name.split("/");
    const { digest, mediaType } = image;
    return {
      mediaType,
      digest,
      size: image.blobs.get(digest)!.length,
      platform: { os, architecture, variant },
    };
  });
  const mediaType = `${OCI}.index.v1+json`;
  const index = describe(blobs, json({ schemaVersion: 2, mediaType, manifests }), mediaType);
  return { blobs, digest: index.digest, mediaType, layers: [] };
}

function describe(blobs: Map<string, Uint8Array>, bytes: Uint8Array, mediaType: string) {
  const digest = digestOf(bytes);
  blobs.set(digest, bytes);
  return { mediaType, digest, size: bytes.length };
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
