/**
 * Reads what a registry says of an image: index, manifest and configuration, by the OCI image specification v1.1
 * (image-index.md, manifest.md, config.md) and Docker's schema 2. What does not describe a container image is
 * refused by name; every fault of a document is reported, not the first.
 *
 * @module
 */
import * as z from "zod/mini";
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";
import type { IndexEntry } from "./platform.ts";
import type { Descriptor, ImageConfig } from "./types.ts";

/** What to ask a registry for. Without an Accept header, Debian's docker-registry answers 404 for OCI manifests. */
export const MANIFEST_TYPES: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];

const INDEX_TYPES = [MANIFEST_TYPES[0]!, MANIFEST_TYPES[2]!];
const CONFIG_TYPES = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
const LAYER_TYPE_REGEXP =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd)?)$/;
const MAX_LAYERS = 1000;
const MAX_ENTRIES = 1000;
const MAX_FAULTS = 10;

/** The images of several platforms under one digest. */
export interface Index {
  readonly kind: "index";
  readonly entries: readonly IndexEntry[];
}

/** One platform's image. */
export interface Manifest {
  readonly kind: "image";
  readonly config: Descriptor;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
}

const digest = z.string().check(
  z.regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hexadecimal digits"),
);
const descriptor = z.object({
  mediaType: z.string().check(z.maxLength(255)),
  digest,
  size: z.int().check(z.nonnegative()),
});
const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(z.extend(descriptor, {
    platform: z.nullish(z.object({
      os: z.string(),
      architecture: z.string(),
      variant: z.nullish(z.string()),
    })),
    annotations: z.nullish(z.record(z.string(), z.unknown())),
  })).check(z.maxLength(MAX_ENTRIES, `expected at most ${MAX_ENTRIES} images`)),
});
const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptor,
  layers: z.array(descriptor).check(z.maxLength(MAX_LAYERS, `expected at most ${MAX_LAYERS} layers`)),
});
const strings = z.nullish(z.array(z.string()));
const configSchema = z.object({
  os: z.string(),
  architecture: z.string(),
  variant: z.nullish(z.string()),
  created: z.nullish(z.string()),
  config: z.nullish(z.object({
    Env: strings,
    Entrypoint: strings,
    Cmd: strings,
    WorkingDir: z.nullish(z.string()),
    Labels: z.nullish(z.record(z.string(), z.string())),
    Volumes: z.nullish(z.record(z.string(), z.unknown())),
  })),
  rootfs: z.object({ diff_ids: z.nullish(z.array(z.string())) }),
});

/** Reads an index or a manifest; `name` is what the failure calls it. */
export function parseManifest(bytes: Uint8Array, name: string): Index | Manifest {
  const document = parseJson(bytes, name);
  const { schemaVersion, mediaType, manifests, layers, artifactType } = document;
  if (schemaVersion === 1) {
    throw unsupported(name, "it has Docker's schema 1, which registries dropped in 2023");
  }
  if (manifests !== undefined && layers !== undefined) {
    throw malformed(name, ["both manifests and layers: either could be meant"]);
  }
  if (manifests !== undefined) {
    if (mediaType !== undefined && !INDEX_TYPES.includes(String(mediaType))) throw wrongType(name, mediaType);
    return readIndex(document, name);
  }
  if (mediaType !== undefined && !MANIFEST_TYPES.includes(String(mediaType))) {
    throw wrongType(name, mediaType);
  }
  if (INDEX_TYPES.includes(String(mediaType))) throw malformed(name, ["an index without manifests"]);
  if (typeof artifactType === "string") {
    throw unsupported(name, `it is an artifact of type "${cut(artifactType)}"`);
  }
  return readManifest(document, name);
}

function readIndex(document: unknown, name: string): Index {
  const { manifests } = checked(indexSchema, document, name);
  const entries = manifests.flatMap(({ mediaType, digest, size, platform, annotations }) => {
    if (annotations?.["vnd.docker.reference.type"] === "attestation-manifest") return [];
    const { os = "", architecture = "", variant } = platform ?? {};
    const named = platform ? { platform: { os, architecture, ...(variant && { variant }) } } : {};
    return [{ mediaType, digest, sizeBytes: size, ...named }];
  });
  return { kind: "index", entries };
}

function readManifest(document: unknown, name: string): Manifest {
  const { config, layers } = checked(manifestSchema, document, name);
  if (!CONFIG_TYPES.includes(config.mediaType)) {
    throw unsupported(name, `its configuration is of type "${cut(config.mediaType)}"`);
  }
  const strange = layers.find(({ mediaType }) => !LAYER_TYPE_REGEXP.test(mediaType));
  if (strange) throw unsupported(name, `it has a layer of type "${cut(strange.mediaType)}"`);
  const sizes = new Map<string, number>();
  for (const [index, { digest, size }] of layers.entries()) {
    if ((sizes.get(digest) ?? size) !== size) {
      throw malformed(name, [`layers.${index}.size: differs from another layer with this digest`]);
    }
    sizes.set(digest, size);
  }
  return { kind: "image", config: renamed(config), layers: layers.map(renamed) };
}

function renamed({ mediaType, digest, size }: z.infer<typeof descriptor>): Descriptor {
  return { mediaType, digest, sizeBytes: size };
}

/** Reads a configuration blob of an image with `layerCount` layers. */
export function parseConfig(bytes: Uint8Array, layerCount: number, name: string): ImageConfig {
  const document = checked(configSchema, parseJson(bytes, name), name);
  const { os, architecture, variant, created, config, rootfs } = document;
  const count = rootfs.diff_ids?.length ?? 0;
  if (count !== layerCount) {
    throw malformed(name, [`rootfs.diff_ids: ${count} layers, the manifest has ${layerCount}`]);
  }
  const createdSeconds = Math.floor(Date.parse(created ?? "") / 1000);
  return {
    os,
    architecture,
    ...(variant && { variant }),
    // Builders that want no date write the year 1.
    ...(createdSeconds >= 0 && { createdSeconds }),
    env: config?.Env ?? [],
    entrypoint: config?.Entrypoint ?? [],
    cmd: config?.Cmd ?? [],
    workingDir: config?.WorkingDir ?? "",
    labels: config?.Labels ?? {},
    volumes: Object.keys(config?.Volumes ?? {}).sort(),
  };
}

function parseJson(bytes: Uint8Array, name: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // The parser's own message quotes the text.
    if (!(error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError)) {
      throw error;
    }
    throw malformed(name, [`no JSON (${bytes.length} bytes)`]);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw malformed(name, ["no JSON object"]);
  }
  return value as Record<string, unknown>;
}

function checked<T extends z.ZodMiniType>(schema: T, value: unknown, name: string): z.infer<T> {
  const result = z.safeParse(schema, value);
  if (result.success) return result.data;
  throw malformed(name, result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`));
}

function malformed(name: string, faults: readonly string[]): Failure {
  const more = faults.length > MAX_FAULTS ? `; and ${faults.length - MAX_FAULTS} more` : "";
  const listed = faults.slice(0, MAX_FAULTS).map((fault) => escapeControls(fault.slice(0, 200))).join("; ");
  return new Failure("PROTOCOL", `Cannot read ${name}: ${listed}${more}`, {
    code: "registry_protocol",
    hint: "the registry, or a proxy before it, sent something else than it should",
  });
}

function wrongType(name: string, mediaType: unknown): Failure {
  return unsupported(name, `it is of type "${cut(String(mediaType))}"`);
}

function unsupported(name: string, what: string): Failure {
  return new Failure("DATAERR", `Cannot import ${name}: ${what}, wanted a container image`, {
    code: "unsupported_image",
    hint: "only OCI images and Docker schema 2 images with sha256 digests can be imported",
  });
}

function cut(text: string): string {
  return escapeControls(text.slice(0, 120));
}
