/**
 * The words that the image modules share; field names follow the OCI image specification v1.1
 * (descriptor.md, config.md), which Docker's schema 2 agrees with wherever both have a field.
 *
 * @module
 */

/** Points at content by digest. */
export interface Descriptor {
  readonly mediaType: string;
  /** "sha256:" and 64 hexadecimal digits. */
  readonly digest: string;
  /** Bytes as stored in the registry, that is compressed. */
  readonly sizeBytes: number;
}

/** An operating system and a processor, in Go's names. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

/** What an image says about running it; only what an import needs. */
export interface ImageConfig extends Platform {
  /** Seconds since the epoch; absent when the image does not say. */
  readonly createdSeconds?: number | undefined;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Paths in the container, sorted. */
  readonly volumes: readonly string[];
}

/** One platform's image: everything of it that is not layer content. */
export interface ResolvedImage {
  /** Digest of the platform's manifest (not of an index). */
  readonly digest: string;
  readonly config: ImageConfig;
  /** Lowest layer first. */
  readonly layers: readonly Descriptor[];
}
