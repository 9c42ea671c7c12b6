/**
 * Puts layers into files, for tests that need no image around them.
 *
 * @module
 */
import { makeTar, type TarItem } from "./make_tar.ts";

/** Writes tars of items, or bytes as they are, into `directory`, as the layers `sha256:layer0` and so on. */
export async function writeLayers(
  directory: string,
  layers: readonly (TarItem[] | Uint8Array)[],
): Promise<{ digest: string; path: string }[]> {
  const files = [];
  for (const [number, layer] of layers.entries()) {
    const path = `${directory}/layer${number}`;
    await Deno.writeFile(path, Array.isArray(layer) ? makeTar(layer) : layer);
    files.push({ digest: `sha256:layer${number}`, path });
  }
  return files;
}
