/**
 * Writes an OCI image layout (image-layout.md) around layers made in a test, for skopeo and umoci.
 *
 * @module
 */

/** Layers as stored; `diffIds` are the digests of their uncompressed tars where they are compressed. */
export interface LayoutImage {
  layers: readonly { bytes: Uint8Array<ArrayBuffer>; mediaType?: string; tar?: Uint8Array<ArrayBuffer> }[];
  config?: Record<string, unknown>;
}

/** Writes `image` as `directory`:`tag` and returns where each layer is. */
export async function writeLayout(
  directory: string,
  tag: string,
  { layers, config = {} }: LayoutImage,
): Promise<{ digest: string; path: string }[]> {
  await Deno.mkdir(`${directory}/blobs/sha256`, { recursive: true });
  const add = async (mediaType: string, bytes: Uint8Array<ArrayBuffer>) => {
    const digest = await sha256(bytes);
    const path = `${directory}/blobs/${digest.replace(":", "/")}`;
    await Deno.writeFile(path, bytes);
    return { mediaType, digest, size: bytes.length, path };
  };
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const added = [];
  for (const { bytes, mediaType = "application/vnd.oci.image.layer.v1.tar" } of layers) {
    added.push(await add(mediaType, bytes));
  }
  const diffIds = await Promise.all(layers.map(({ bytes, tar }) => sha256(tar ?? bytes)));
  const blob = await add(
    "application/vnd.oci.image.config.v1+json",
    json({ architecture: "amd64", os: "linux", config, rootfs: { type: "layers", diff_ids: diffIds } }),
  );
  const bare = ({ mediaType, digest, size }: typeof blob) => ({ mediaType, digest, size });
  const manifest = await add(
    "application/vnd.oci.image.manifest.v1+json",
    json({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: bare(blob),
      layers: added.map(bare),
    }),
  );
  await Deno.writeTextFile(`${directory}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  await Deno.writeFile(
    `${directory}/index.json`,
    json({
      schemaVersion: 2,
      manifests: [{ ...bare(manifest), annotations: { "org.opencontainers.image.ref.name": tag } }],
    }),
  );
  return added.map(({ digest, path }) => ({ digest, path }));
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
