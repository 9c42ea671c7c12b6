/**
 * Takes a portable file to pieces and puts others in: for tests that damage it at a known place, and for
 * those that have it run a small program instead of davit. launcher/parts.h describes the format.
 *
 * @module
 */
import { sha256Hex } from "../scripts/pack.ts";
import { must } from "./real_registry.ts";

/** Where a part lies in the file, in bytes. */
export interface PartPlace {
  readonly use: string;
  readonly name: string;
  readonly offset: number;
  readonly packed: number;
  readonly raw: number;
}

/** The pieces, in the file's order. */
export interface Layout {
  readonly launcher: { readonly size: number };
  readonly parts: readonly PartPlace[];
  readonly index: { readonly offset: number; readonly size: number };
  readonly size: number;
}

/** Bytes at the end of the file. */
export const TRAILER_BYTES = 112;

/** Reads the index of the portable file whose bytes these are. */
export function layoutOf(file: Uint8Array): Layout {
  const trailer = new TextDecoder().decode(file.subarray(-TRAILER_BYTES));
  const [, offset, size] = /^davit-index (\d+) (\d+) /.exec(trailer)?.map(Number) ?? [];
  if (offset === undefined || size === undefined) throw new Error(`not a portable file: "${trailer}"`);
  const index = new TextDecoder().decode(file.subarray(offset, offset + size));
  const lines = index.trimEnd().split("\n").map((line) => {
    const [use = "", at, packed, raw, , name = ""] = line.split(" ");
    return { use, offset: Number(at), packed: Number(packed), raw: Number(raw), name };
  });
  const launcher = lines.find(({ use }) => use === "l");
  return {
    launcher: { size: launcher!.packed },
    parts: lines.filter(({ use }) => use !== "l"),
    index: { offset, size },
    size: file.length,
  };
}

/** The end of a portable file: index and trailer for `offset` bytes before them. The digest is right. */
export async function sealed(index: string, offset: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(index);
  const trailer = `davit-index ${offset} ${bytes.length} ${await sha256Hex(bytes)}`;
  return new TextEncoder().encode(`${index}${trailer.padEnd(TRAILER_BYTES - 1)}\n`);
}

/** Writes to `output` the portable file `from` with the program `main`, bundled, in the place of davit. */
export async function withProgram(
  from: string,
  { main, output, workDir }: { main: string; output: string; workDir: string },
): Promise<void> {
  const bundle = `${workDir}/program.js`;
  await must([Deno.execPath(), "bundle", "--quiet", "--platform", "deno", "-o", bundle, main]);
  await must(["zstd", "-q", "-f", "--check", "-o", `${bundle}.zst`, bundle]);
  const frame = await Deno.readFile(`${bundle}.zst`);
  const bytes = await Deno.readFile(from);
  const { index, parts } = layoutOf(bytes);
  const offset = index.offset;
  const { name, use } = parts.find(({ name }) => name === "main.js")!;
  const raw = (await Deno.stat(bundle)).size;
  const line = `${use} ${offset} ${frame.length} ${raw} ${await sha256Hex(frame)} ${name}`;
  const text = new TextDecoder().decode(bytes.subarray(offset, offset + index.size))
    .replace(/^.* main\.js$/m, line);
  // The old bundle stays where it is; no line of the index leads to it any more.
  const pieces = [bytes.subarray(0, offset), frame, await sealed(text, offset + frame.length)];
  await Deno.writeFile(output, new Uint8Array(await new Blob(pieces).arrayBuffer()), { mode: 0o755 });
}
