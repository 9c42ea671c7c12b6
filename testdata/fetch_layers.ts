/**
 * A process that fetches one image's layers into a cache: `deno run -A fetch_layers.ts REFERENCE CACHE`. It ends
 * with the Failure's exit status, or with the digests it has on stdout.
 *
 * @module
 */
import { Failure } from "../lib/failure.ts";
import { fetchLayers } from "../lib/image/layer_cache.ts";
import { parsePlatform } from "../lib/image/platform.ts";
import { parseReference } from "../lib/image/reference.ts";
import { openRegistry } from "../lib/image/registry.ts";
import { testOptions } from "./registry_options.ts";

if (import.meta.main) {
  const [reference = "", cacheDir = ""] = Deno.args;
  const options = testOptions({ stallTimeoutMs: 30_000 });
  using registry = await openRegistry(parseReference(reference), options);
  try {
    const { layers } = await registry.resolve(parsePlatform("linux/amd64"));
    const paths = await fetchLayers(layers, { ...options, open: registry.openBlob, cacheDir });
    await Deno.stdout.write(new TextEncoder().encode(JSON.stringify([...paths.keys()])));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    await Deno.stderr.write(new TextEncoder().encode(`${error.code}: ${error.message}\n${error.hint}\n`));
    Deno.exit(error.exitStatus);
  }
}
