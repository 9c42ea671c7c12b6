import assert from "node:assert/strict";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { layoutOf, sealed, TRAILER_BYTES } from "../../testdata/portable_layout.ts";
import { must } from "../../testdata/real_registry.ts";
import { run, start } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { pack } from "../pack.ts";

const fuzzNeeds = needs({
  root: true,
  programs: ["cc", "zstd", "unshare", "nsenter"],
  kernel: [privateMounts],
});
const FLIPS = 2_000;
const SANITIZER_STATUS = 99;
const WORKERS = 2;
const LOADER = `#include <stdio.h>\nint main(void) { return puts("ran") < 0; }\n`;
/** Numbers at which arithmetic breaks, and texts that are none. */
const NUMBERS = [
  ...["0", "-1", "1", "2147483647", "2147483648", "4294967295", "4294967296", "999999999999999999"],
  ...[
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999",
    "+1",
    "0x10",
  ],
  ...["1e9", "", " ", "a", "%n%n%n"],
];
const NAMES = [
  ...[
    "../evil",
    "/etc/evil",
    "..",
    ".",
    ".hidden",
    "a/b",
    "a\\b",
    "x".repeat(63),
    "x".repeat(64),
    "x".repeat(5_000),
  ],
  ...["\x1b[31m", "é", "a\tb", "a b", "%s%n", "davit", "a:b", "$ORIGIN"],
];

/** What is fit for a part. */
const NAME_REGEXP = /^[\w+-][\w.+-]{0,62}$/;

/** A launcher that tells of every misstep, with small parts; its "loader" prints "ran". */
async function makeFile(dir: TempDir): Promise<Uint8Array<ArrayBuffer>> {
  const launcher = dir.join("launcher");
  const source = new URL("../launcher.c", import.meta.url).pathname;
  const checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
  await must(["cc", "-std=gnu11", "-O1", "-s", ...checks, "-o", launcher, source, "-lzstd"]);
  await Deno.writeTextFile(dir.join("loader.c"), LOADER);
  await must(["cc", "-static", "-s", "-o", dir.join("loader"), dir.join("loader.c")]);
  await Deno.writeTextFile(dir.join("text"), "text\n".repeat(1_000));
  const part = (name: string, use: "r" | "t" | "b", path = dir.join("text")) => ({ name, path, use });
  const parts = [
    part("davit", "b", dir.join("loader")),
    part("main.js", "r"),
    part("libc.so.6", "b"),
    part("sqfstar", "t"),
    part("runtime", "r"),
  ];
  const output = dir.join("whole");
  await pack(launcher, parts, { output, level: 3, workDir: dir.path });
  return await Deno.readFile(output);
}

/** The same numbers in every run: a failure can be looked at again. */
function* randomNumbers(seed: number): Generator<number, never> {
  for (let state = seed;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 8;
  }
}

interface Mutant {
  readonly name: string;
  /** What comes instead of index and trailer. */
  readonly end: Uint8Array<ArrayBuffer>;
  /** Whether it must be refused; with what else was made up, the launcher may make do. */
  readonly isDamaged: boolean;
}

/** Bits that a disk or a cable changed. */
function* flipped(end: Uint8Array<ArrayBuffer>): Generator<Mutant> {
  const random = randomNumbers(1);
  for (let round = 0; round < FLIPS; round++) {
    const bytes = end.slice();
    const flips = 1 + random.next().value % 4;
    for (let flip = 0; flip < flips; flip++) {
      const at = random.next().value % bytes.length;
      bytes[at] = bytes[at]! ^ (1 << (random.next().value % 8));
    }
    const isDamaged = bytes.some((byte, at) => byte !== end[at]); // two flips of one bit are none
    yield { name: `flip ${round}`, end: bytes, isDamaged };
  }
}

/** Indexes that somebody made up, with the digest that belongs to them. */
async function* madeUp(index: string, offset: number): AsyncGenerator<Mutant> {
  const lines = index.trimEnd().split("\n");
  const texts: Record<string, string> = {
    "65 parts": lines.concat(
      Array.from({ length: 65 }, (_, number) => `r 0 0 0 ${"0".repeat(64)} p${number}`),
    ).join("\n"),
    "no part": "\n",
    "spaces": " ".repeat(4_000),
    "one line of 16,000": "r".repeat(16_000),
    "16,384 newlines": "\n".repeat(16_384),
    "too large": `${index}${"\n".repeat(20_000)}`,
    "zeros": "\0".repeat(100),
    "zeros behind": `${index}\0\0\0`,
    "twice": index + index,
    "without the launcher's line": lines.slice(1).join("\n"),
    "without the loader": lines.filter((line) => !line.endsWith(" davit")).join("\n"),
    "a loader and nothing else": lines.filter((line) => / (davit|launcher)$/.test(line)).join("\n"),
  };
  const unfit = new Set<string>();
  for (const [number, line] of lines.entries()) {
    const fields = line.split(" ");
    for (const [field] of fields.entries()) {
      for (
        const value of field === 5
          ? NAMES
          : field === 4
          ? [...NUMBERS, "0".repeat(64), "f".repeat(65)]
          : NUMBERS
      ) {
        const changed = lines.with(number, fields.with(field, value).join(" "));
        const name = `line ${number}, field ${field}: ${value.slice(0, 70)}`;
        texts[name] = `${changed.join("\n")}\n`;
        if (field === 5 && !NAME_REGEXP.test(value)) unfit.add(name);
      }
    }
  }
  for (const [name, text] of Object.entries(texts)) {
    yield { name, end: await sealed(text, offset), isDamaged: unfit.has(name) };
  }
}

/** Trailers that lead astray, before a good index. */
function* astray(end: Uint8Array<ArrayBuffer>, offset: number, size: number): Generator<Mutant> {
  const digest = /[0-9a-f]{64}/.exec(new TextDecoder().decode(end.subarray(-TRAILER_BYTES)))![0];
  for (
    const [first, second] of NUMBERS.flatMap((
      text,
    ) => [[text, String(size)], [String(offset), text], [text, text]])
  ) {
    const text = `davit-index ${first} ${second} ${digest}`.slice(0, TRAILER_BYTES - 1);
    const trailer = new TextEncoder().encode(`${text.padEnd(TRAILER_BYTES - 1)}\n`);
    const bytes = new Uint8Array([...end.subarray(0, -TRAILER_BYTES), ...trailer]);
    yield { name: `trailer "${first}" "${second}"`, end: bytes, isDamaged: true };
  }
}

Deno.test({
  name: "launcher: no index and no trailer makes it misstep",
  ...fuzzNeeds,
  async fn() {
    await using dir = await tempDir("fuzz");
    const whole = await makeFile(dir);
    const { index: { offset, size } } = layoutOf(whole);
    const end = whole.slice(offset);
    const index = new TextDecoder().decode(end.subarray(0, size));

    // What is refused in DAVIT_CACHE goes on to the other places: in there they are nobody's.
    const hide = `mount --bind "$0" /mnt
      for place in /var/cache /var/tmp /dev/shm /tmp; do mount -t tmpfs -o size=16m none $place || exit; done
      echo hidden; exec sleep 3600`;
    await using namespace = start(["unshare", "--mount", "sh", "-ec", hide, dir.path], {
      timeoutMs: 600_000,
    });
    await namespace.waitFor(/hidden/);

    async function* mutants(): AsyncGenerator<Mutant> {
      yield* flipped(end);
      yield* astray(end, offset, size);
      yield* madeUp(index, offset);
    }

    const seen = { tried: 0, ran: 0, refused: 0 };
    async function work(queue: AsyncGenerator<Mutant>, name: string): Promise<void> {
      const file = dir.join(name);
      await Deno.writeFile(file, whole, { mode: 0o755 });
      for await (const { name: what, end, isDamaged } of queue) {
        {
          using opened = await Deno.open(file, { write: true });
          await opened.truncate(offset);
          await opened.seek(offset, Deno.SeekMode.Start);
          await opened.write(end);
        }
        const line = ["nsenter", `--mount=/proc/${namespace.pid}/ns/mnt`, `/mnt/${name}`, "--version"];
        const { code, stdout, stderr } = await run(line, {
          env: {
            DAVIT_CACHE: `/mnt/${name}-cache`,
            HOME: undefined,
            XDG_CACHE_HOME: undefined,
            ASAN_OPTIONS: `exitcode=${SANITIZER_STATUS}:detect_leaks=0`,
            UBSAN_OPTIONS: "print_stacktrace=1",
          },
        });
        seen.tried++;
        if (code === 0) seen.ran++;
        if (code === 65) seen.refused++;
        assert.ok([0, 65, 71].includes(code), `${what}: status ${code}\n${stderr}`);
        assert.doesNotMatch(stderr, /Sanitizer|runtime error/, what);
        if (code === 0) assert.equal(stdout, "ran\n", what);
        if (isDamaged) {
          assert.deepEqual([code, stdout, stderr.split("\n").length], [65, "", 2], `${what}: ${stderr}`);
        }
        // deno-lint-ignore no-control-regex -- that there are none is the point
        assert.doesNotMatch(stderr, /[\x00-\x09\x0b-\x1f\x7f]/, what);
      }
    }
    const queue = mutants();
    const ends = await Promise.allSettled(
      Array.from({ length: WORKERS }, (_, number) => work(queue, `mutant-${number}`)),
    );
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    assert.ok(seen.tried > FLIPS + 500 && seen.ran > 0 && seen.refused > FLIPS, JSON.stringify(seen));
    // Names that lead out of the directory would have left it.
    const expected = ["launcher", "loader", "loader.c", "text", "whole"];
    const names = (await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name);
    assert.deepEqual(names.filter((name) => !/^mutant-\d|\.zst$/.test(name)).sort(), expected);
  },
});
