/**
 * CVS's two sample cluster files for containers: the keys, values and placeholders are those of
 * cvs/input/cluster_file/ in https://github.com/ROCm/cvs at dddd9143; the comments are shortened.
 *
 * @module
 */

/** The samples' names. */
export const CVS_SAMPLES = ["cluster_container", "atom_cluster"] as const;

/** A sample as it is shipped. */
export async function cvsSampleAsShipped(name: typeof CVS_SAMPLES[number]): Promise<string> {
  return await Deno.readTextFile(new URL(`./cvs/${name}.json`, import.meta.url));
}

/** A sample with the hosts n1 and n2 in place of its placeholders, as somebody who uses it writes it. */
export async function cvsSample(name: typeof CVS_SAMPLES[number]): Promise<string> {
  return (await cvsSampleAsShipped(name))
    .replaceAll(/\{xx\.xx\.xx\.xx\|hostname-1\}|\{head-node-ip\}/g, "n1")
    .replaceAll(/\{xx\.xx\.xx\.xx\|hostname-2\}|\{worker-node-ip\}/g, "n2");
}
