/**
 * The built-in engine: registry client, layer cache, merge and sqfstar. It needs squashfs-tools and no root.
 *
 * @module
 */
import type { SpaceNeed } from "../host/space.ts";
import type { Engine, EngineTools, FoundImage } from "./engine.ts";
import { discardLayer, fetchLayers, missingBytes } from "./layer_cache.ts";
import { DamagedLayer } from "./layer_failure.ts";
import { indexLayers } from "./merge.ts";
import { formatPlatform } from "./platform.ts";
import { formatReference, type Reference } from "./reference.ts";
import { openRegistry, type Registry, type Resolution } from "./registry.ts";
import { buildSquashfs, type Compression, findSqfstar } from "./sqfstar.ts";
import type { Platform } from "./types.ts";
import { findUnsquashfs } from "./unsquashfs.ts";

/** How the engine works; sizes in bytes. */
export interface BuiltinOptions extends EngineTools {
  readonly env: Readonly<Record<string, string>>;
  readonly platform: Platform;
  readonly cacheDir: string;
  readonly connections: number;
  readonly retries: number;
  readonly stallTimeoutMs: number;
  readonly allowHttp: readonly string[];
  readonly caFile: string | undefined;
  readonly compression: Compression;
  readonly maxUnpackedBytes: number;
}

/** Opens the engine for one reference; nothing is sent yet. */
export async function openBuiltinEngine(reference: Reference, options: BuiltinOptions): Promise<Engine> {
  const { caFile, ...rest } = options;
  const registry = await openRegistry(reference, { ...rest, ...caFile !== undefined && { caFile } });
  return new BuiltinEngine(reference, registry, options);
}

class BuiltinEngine implements Engine {
  readonly name = "builtin";
  readonly compression: Compression;
  readonly #reference: Reference;
  readonly #registry: Registry;
  readonly #options: BuiltinOptions;

  constructor(reference: Reference, registry: Registry, options: BuiltinOptions) {
    this.#reference = reference;
    this.#registry = registry;
    this.#options = options;
    this.compression = options.compression;
  }

  currentDigest(): Promise<string | undefined> {
    return this.#registry.currentDigest();
  }

  async find(): Promise<FoundImage> {
    const { env, platform, cacheDir, compression } = this.#options;
    // Before any download: without it all the rest would be in vain.
    await findSqfstar(env.PATH ?? "");
    await findUnsquashfs(this.#options.signal);
    const image = await this.#registry.resolve(platform);
    const cache: SpaceNeed = {
      label: "the layer cache",
      directory: await existingParent(cacheDir),
      bytes: await missingBytes(image.layers, cacheDir),
      inodes: image.layers.length + 4,
      hint: `free space in "${cacheDir}" or choose another --cache-dir`,
    };
    const layersBytes = image.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return {
      digest: image.digest,
      referenceDigest: image.referenceDigest,
      platform: formatPlatform(platform),
      needs: [cache],
      targetBytes: Math.floor(layersBytes * SIZE_FLOOR[compression]),
      build: (output) => this.#build(image, output),
    };
  }

  async #build(image: Resolution, output: string): Promise<void> {
    const { activity, env, cacheDir } = this.#options;
    activity.begin("download");
    const paths = await fetchLayers(image.layers, {
      ...this.#options,
      open: (descriptor, fromByte, how) => this.#registry.openBlob(descriptor, fromByte, how),
      cacheDir,
    });
    const { registry, repository } = this.#reference;
    const layers = image.layers.map(({ digest }) => ({ digest, path: paths.get(digest)! }));
    try {
      const plan = await indexLayers(layers, {
        ...this.#options,
        config: image.config,
        provenance: formatReference({ registry, repository, digest: image.digest }),
      });
      await buildSquashfs(plan, {
        ...this.#options,
        output,
        mkfsTimeSeconds: Math.min(Math.max(image.config.createdSeconds ?? 0, 0), 2 ** 32 - 1),
        path: env.PATH ?? "",
      });
    } catch (error) {
      // It was right when it was written: whoever tries again fetches it again.
      if (error instanceof DamagedLayer) await discardLayer(cacheDir, error.digest);
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#registry[Symbol.dispose]();
    return Promise.resolve();
  }
}

/**
 * What a finished file has at least, relative to its compressed layers: less than any measured image, because a
 * check that refuses an import which would have fitted is worse than one that lets ENOSPC decide.
 */
const SIZE_FLOOR: Record<Compression, number> = {
  none: 0.9,
  lz4: 0.7,
  lzo: 0.6,
  gzip: 0.6,
  zstd: 0.5,
  xz: 0.5,
};

/** The directory may not exist yet; the filesystem of its nearest ancestor is the one that counts. */
async function existingParent(directory: string): Promise<string> {
  for (let at = directory;; at = at.slice(0, at.lastIndexOf("/")) || "/") {
    try {
      if ((await Deno.stat(at)).isDirectory || at === "/") return at;
    } catch (error) {
      if (at === "/" || !at.includes("/")) throw error;
    }
  }
}
