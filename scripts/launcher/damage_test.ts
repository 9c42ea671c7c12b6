import assert from "node:assert/strict";
import { VERSION } from "../../lib/version.ts";
import { needs } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { type Layout, layoutOf, TRAILER_BYTES } from "../../testdata/portable_layout.ts";
import { run } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";

const buildNeeds = needs({ programs: BUILD_PROGRAMS });
const EX_DATAERR = 65;
const REFUSAL_REGEXP = /^davit: cannot start: ".+" is damaged: [^\n]+; download it again\n$/;

/** A copy of the portable file to be damaged, and a cache that nothing may be left in. */
class Patient {
  readonly file: string;
  readonly cache: string;
  readonly layout: Layout;

  private constructor(readonly dir: TempDir, readonly whole: Uint8Array<ArrayBuffer>) {
    this.file = dir.join("davit");
    this.cache = dir.join("cache");
    this.layout = layoutOf(whole);
  }

  static async make(dir: TempDir): Promise<Patient> {
    const patient = new Patient(dir, await Deno.readFile(await portableFile()));
    await Deno.writeFile(patient.file, patient.whole, { mode: 0o755 });
    return patient;
  }

  async start() {
    return await run([this.file, "--version"], { env: { DAVIT_CACHE: this.cache } });
  }

  /** Starts it with one bit of one byte changed, and changes it back. */
  async refusesFlipAt(offset: number): Promise<void> {
    await this.#write(offset, this.whole[offset]! ^ 0x10);
    await this.refuses();
    await this.#write(offset, this.whole[offset]!);
  }

  async refuses(): Promise<void> {
    const { code, stdout, stderr } = await this.start();
    assert.equal(code, EX_DATAERR, stderr);
    assert.match(stderr, REFUSAL_REGEXP);
    assert.equal(stdout, "");
    await this.leftNothing();
  }

  async leftNothing(): Promise<void> {
    const names = await Array.fromAsync(Deno.readDir(this.cache)).catch(() => []);
    assert.deepEqual(names, []);
  }

  async #write(offset: number, byte: number): Promise<void> {
    using file = await Deno.open(this.file, { write: true });
    await file.seek(offset, Deno.SeekMode.Start);
    await file.write(Uint8Array.of(byte));
  }
}

Deno.test({
  name: "portable file: refuses a changed byte in any part, its index, its trailer and its launcher",
  ...buildNeeds,
  async fn(t) {
    await using dir = await tempDir("flip");
    const patient = await Patient.make(dir);
    const { parts, index, size } = patient.layout;
    assert.ok(parts.length > 10);
    for (const { name, offset, packed } of parts) {
      await t.step(`${name}: first, middle, last`, async () => {
        for (const at of [0, packed >> 1, packed - 1]) await patient.refusesFlipAt(offset + at);
      });
    }
    await t.step("every thirteenth byte of the index", async () => {
      for (let at = 0; at < index.size; at += 13) await patient.refusesFlipAt(index.offset + at);
      await patient.refusesFlipAt(index.offset + index.size - 1);
    });
    await t.step("every byte of the trailer", async () => {
      for (let at = size - TRAILER_BYTES; at < size; at++) await patient.refusesFlipAt(at);
    });
    await t.step("a text of the launcher", async () => {
      const text = new TextEncoder().encode("running from memory");
      const at = patient.whole.indexOf(text[0]!, findBytes(patient.whole, text));
      assert.ok(at > 0 && at < patient.layout.launcher.size);
      await patient.refusesFlipAt(at);
    });
    await t.step("and starts when all is as it was", async () => {
      const { code, stdout, stderr } = await patient.start();
      assert.deepEqual([code, stdout, stderr], [0, `davit ${VERSION}\n`, ""]);
    });
    await t.step("what is unpacked goes on to run, whatever becomes of the parts", async () => {
      await Deno.writeFile(patient.file, patient.whole.with(parts[1]!.offset, 0));
      assert.equal((await patient.start()).stdout, `davit ${VERSION}\n`);
    });
  },
});

function findBytes(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let at = bytes.indexOf(wanted[0]!); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}

Deno.test({
  name: "portable file: refuses to be shorter or longer than it was made",
  ...buildNeeds,
  async fn(t) {
    await using dir = await tempDir("cut");
    const patient = await Patient.make(dir);
    const { layout, whole } = patient;
    const { parts, index, size } = layout;
    const begin = layout.launcher.size;
    const lengths = [
      ...[begin, begin + 1, begin + 111, begin + 112, begin + 113, parts[1]!.offset, parts[2]!.offset - 1],
      ...[0.25, 0.5, 0.75, 0.9, 0.99].map((share) => Math.floor(size * share)),
      ...[
        index.offset,
        index.offset + 1,
        index.offset + index.size,
        size - TRAILER_BYTES + 12,
        size - 2,
        size - 1,
      ],
    ];
    for (const length of lengths) {
      await t.step(`${length} of ${size} bytes`, async () => {
        await Deno.writeFile(patient.file, whole.subarray(0, length));
        await patient.refuses();
      });
    }
    // What is shorter than the launcher is the kernel's to refuse, or a shell's.
    for (const length of [0, 1, 4, 64, 4096, begin >> 1]) {
      await t.step(`${length} bytes are no davit`, async () => {
        await Deno.writeFile(patient.file, whole.subarray(0, length));
        const { stdout } = await run(["sh", "-c", '"$0" --version', patient.file], {
          env: { DAVIT_CACHE: patient.cache },
        });
        assert.equal(stdout, "");
        await patient.leftNothing();
      });
    }
    const additions: Record<string, Uint8Array<ArrayBuffer>> = {
      "a newline": Uint8Array.of(10),
      "zeros to a whole block": new Uint8Array(4096),
      "a page of an error": new TextEncoder().encode("<html>502 Bad Gateway</html>\n"),
      "its own trailer": whole.slice(-TRAILER_BYTES),
      "its own index and trailer": whole.slice(index.offset),
      "itself": whole,
    };
    for (const [name, bytes] of Object.entries(additions)) {
      await t.step(`and ${name}`, async () => {
        await Deno.writeFile(patient.file, whole);
        await Deno.writeFile(patient.file, bytes, { append: true });
        await patient.refuses();
      });
    }
    await t.step("a megabyte of zeros in its middle, as a download that resumed may have", async () => {
      await Deno.writeFile(patient.file, new Uint8Array(whole).fill(0, size >> 1, (size >> 1) + (1 << 20)));
      await patient.refuses();
    });
  },
});
