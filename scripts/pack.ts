/**
 * Puts the portable file together: launcher, one zstd frame a part, index, trailer. launcher/parts.h reads
 * what this writes and describes it.
 *
 * @module
 */

/** One file that the portable file carries. */
export interface Part {
  /** What it is called where it is unpacked. */
  readonly name: string;
  readonly path: string;
  /** Who needs it: the runtime, the tools, or both. */
  readonly use: "r" | "t" | "b";
}

/** What became of a part. */
export interface PackedFile extends Part {
  readonly rawBytes: number;
  readonly packedBytes: number;
  /** Of the packed bytes, as in the index. */
  readonly sha256: string;
}

const TRAILER_BYTES = 112;
/** Above 19 needs a window that costs whoever unpacks 128 MiB of memory. */
export const BEST_LEVEL = 19;

/** Writes `output`; equal parts make equal bytes. Needs the program zstd. */
export async function pack(
  launcher: string,
  parts: readonly Part[],
  { output, level, workDir }: { output: string; level: number; workDir: string },
): Promise<PackedFile[]> {
  using file = await Deno.open(output, { write: true, create: true, truncate: true, mode: 0o755 });
  const program = await Deno.readFile(launcher);
  let offset = await append(file, program);
  const packed: PackedFile[] = [];
  const lines = [`l 0 ${offset} ${offset} ${await sha256Hex(program)} launcher\n`];
  for (const part of parts) {
    const frame = `${workDir}/${part.name}.zst`;
    await zstd(part.path, frame, level);
    const bytes = await Deno.readFile(frame);
    const sha256 = await sha256Hex(bytes);
    const rawBytes = (await Deno.stat(part.path)).size;
    lines.push(`${part.use} ${offset} ${bytes.length} ${rawBytes} ${sha256} ${part.name}\n`);
    packed.push({ ...part, rawBytes, packedBytes: bytes.length, sha256 });
    offset += await append(file, bytes);
  }
  const index = new TextEncoder().encode(lines.join(""));
  await append(file, index);
  const trailer = `davit-index ${offset} ${index.length} ${await sha256Hex(index)}`;
  await append(file, new TextEncoder().encode(`${trailer.padEnd(TRAILER_BYTES - 1)}\n`));
  await Deno.chmod(output, 0o755); // the umask of whoever builds is no property of the file
  return packed;
}

/** With threads zstd makes the same bytes on any number of cores, as long as it is more than none. */
async function zstd(input: string, output: string, level: number): Promise<void> {
  const { success, stderr } = await new Deno.Command("zstd", {
    args: ["-q", "-f", `-${level}`, "-T2", "--check", "-o", output, input],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(`Cannot pack "${input}": ${new TextDecoder().decode(stderr).trim()}`);
}

async function append(file: Deno.FsFile, bytes: Uint8Array): Promise<number> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
  return bytes.length;
}

/** SHA-256 in hexadecimal. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
