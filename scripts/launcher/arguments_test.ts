import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { setPortableStage, STAGE_PROGRAMS } from "../../testdata/portable_stage.ts";

const stageNeeds = needs({ programs: STAGE_PROGRAMS });

Deno.test({
  name: "portable file: arguments of any text reach davit, and davit alone",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("arguments");
    const lists: Record<string, string[]> = {
      "none": [],
      "empty": ["", "", "x", ""],
      "blanks and quotes": [
        " ",
        "a b",
        "\t",
        "\n",
        "a\nb\r\n",
        `"`,
        "'",
        "\\",
        "$HOME",
        "`id`",
        "*",
        "\x01\x7f\x1b[31m",
      ],
      "UTF-8": ["\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbb\xbf"],
      "100,000 bytes": ["x".repeat(100_000), "-".repeat(100_000)],
      "10,000 of them": Array.from({ length: 10_000 }, (_, number) => `--${number}`),
      "double dashes": ["--", "a", "--", "--", "-"],
      "deno's flags": [
        ...["-A", "--v8-flags=--no-such-flag", "--inspect-brk", "--help", "-h", "-V", "--version", "--watch"],
        ...[
          "--config",
          "/nonexistent",
          "--cached-only",
          "--reload",
          "--preload",
          "x.js",
          "-q",
          "--allow-none",
        ],
      ],
      "the loader's flags": [
        "--library-path",
        "/nonexistent",
        "--list",
        "--verify",
        "--argv0",
        "x",
        "--preload",
        "y",
      ],
      "words that the launcher knows": ["self", "tool", "sqfstar", "-version"],
    };
    for (const [name, list] of Object.entries(lists)) {
      await t.step(name, async () => {
        const { code, stdout, stderr } = await stage.runProgram(["args", ...list]);
        assert.deepEqual([code, stderr], [0, ""]);
        const bytes = (JSON.parse(stdout) as string[]).map((text) => new TextEncoder().encode(text));
        assert.deepEqual(
          bytes.map((text) => String.fromCharCode(...text.subarray(0, 65_000))),
          list.map((text) => text.slice(0, 65_000)),
        );
        assert.deepEqual(bytes.map(({ length }) => length), list.map(({ length }) => length));
      });
    }
    for (
      const flag of ["-A", "--v8-flags=--no-such-flag", "--inspect-brk", "--quiet", "--", "-", "run", "eval"]
    ) {
      await t.step(`davit ${flag}`, async () => {
        const { code, stderr } = await stage.runDavit([flag]);
        assert.equal(code, 64);
        assert.match(stderr, /^(davit: unknown (command|option) '|Usage: davit )/);
      });
    }
  },
});

Deno.test({
  name: "portable file: refuses arguments that are not UTF-8, but for a tool",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("bytes");
    const refused = [
      "\xff",
      "a\xff",
      "\x80",
      "\xc0\xaf",
      "\xc3",
      "\xe2\x82",
      "\xed\xa0\x80",
      "\xf4\x90\x80\x80",
      "\xf0\x8f\xbf\xbf",
    ];
    for (const text of refused) {
      await t.step(JSON.stringify(text), async () => {
        const { code, stdout, stderr } = await stage.runDavit(["image", "check", text]);
        assert.deepEqual([code, stdout], [64, ""]);
        assert.equal(
          stderr,
          "davit: Cannot read argument 3: its bytes are not UTF-8, which davit's arguments must be\n",
        );
      });
    }
    await t.step("the highest and lowest that are", async () => {
      const texts = [
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
      ];
      assert.equal((await stage.runProgram(["args", ...texts])).code, 0);
    });
    await t.step("a tool", async () => {
      const { code, stderr } = await stage.runDavit([
        "self",
        "tool",
        "unsquashfs",
        "-s",
        "/nonexistent/\xff",
      ]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /Could not open \/nonexistent\//);
    });
  },
});

Deno.test({
  name: "portable file: without even a name of its own",
  ...stageNeeds,
  async fn() {
    await using stage = await setPortableStage("nameless");
    const env = [`DAVIT_CACHE=${stage.cache}`];
    const named = await stage.raw.run({ program: stage.davit, argv: ["davit"], env });
    assert.equal(named.code, 64);
    for (const argv of [[], [""], ["/nonexistent/sqfstar"]]) {
      assert.deepEqual(await stage.raw.run({ program: stage.davit, argv, env }), named);
    }
  },
});
