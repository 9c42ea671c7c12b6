import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import assert from "node:assert/strict";
import { needs } from "../testdata/needs.ts";
import { davit, davitArgv, davitEnv, run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { createContext } from "./context.ts";
import { program } from "./mod.ts";

Deno.test("davit: what is typed wrong ends with 64, one line and a hint", async (t) => {
  const rows: [string[], RegExp][] = [
    [["imag"], /unknown command 'imag'\nhint: Did you mean image\?/],
    [["image", "improt"], /unknown command 'improt'/],
    [["image", "import"], /missing required argument|required option/],
    [["image", "import", "a/b:1"], /--output <file>' not specified/],
    [["image", "import", "a/b:1", "-o", "x", "--nope"], /unknown option '--nope'/],
    [
      ["image", "import", "a/b:1", "-o", "x", "--lock-timeout", "soon"],
      /--lock-timeout: expected a duration.*"soon"/,
    ],
    [["image", "import", "a/b:1", "-o", "x", "--platform", "a/b/c/d"], /a\/b\/c\/d/],
    [["image", "import", "docker://BAD IMAGE", "-o", "x"], /character \d+/],
    [["image", "check"], /missing required argument 'file'/],
    [["image", "check", "a", "b"], /too many arguments/],
    [["completions", "tcsh"], /bash, zsh, fish/],
    [["--log-level", "loud", "config", "show"], /--log-level: expected one of error, warn, info, debug/],
  ];
  for (const [args, says] of rows) {
    await t.step(args.join(" "), async () => {
      const { code, stdout, stderr } = await davit(args);
      assert.equal(code, 64, stderr);
      assert.match(stderr, says);
      assert.equal(stdout, "");
      const json = await davit([...args, "--json"]);
      assert.equal(json.code, 64);
      const { error } = JSON.parse(json.stderr);
      assert.equal(typeof error.message, "string");
      assert.ok(["usage", "bad_reference", "bad_platform"].includes(error.code), error.code);
    });
  }
});

Deno.test("davit: without a command it shows its help on stderr and exits 64", async () => {
  for (const args of [[], ["image"], ["config"]]) {
    const { code, stdout, stderr } = await davit(args);
    assert.equal(code, 64);
    assert.match(stderr, /^Usage: davit/);
    assert.equal(stdout, "");
  }
});

/** "", "image", "image import", …: every command that help shows. */
function commandPaths(): string[] {
  const parts = {
    env: {},
    json: false,
    signal: new AbortController().signal,
    ignoredSignals: new Set<number>(),
  };
  const walk = (command: CommandUnknownOpts, path: string): string[] => {
    const visible = command.createHelp().visibleCommands(command).filter((child) => child.name() !== "help");
    return [path, ...visible.flatMap((child) => walk(child, `${path} ${child.name()}`.trim()))];
  };
  return walk(program(createContext({ ...parts, takeSignals() {} })), "");
}

async function helpOf(path: string): Promise<string> {
  const { code, stdout, stderr } = await davit([...path.split(" ").filter(Boolean), "--help"], {
    env: { HOME: "/home/somebody" },
  });
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test("davit: the help of every command has examples and exit codes, and lists every error code", async (t) => {
  const helps: string[] = [];
  for (const path of commandPaths()) {
    const help = await helpOf(path);
    helps.push(help);
    await t.step(`davit ${path}`, async (step) => {
      if (!/\nCommands:/.test(help)) assert.match(help, /Examples:\n.*Exit status/s);
      await step.assertSnapshot(help);
    });
  }
  await t.step("error codes", async () => {
    const root = new URL("../", import.meta.url).pathname;
    const grep = ["grep", "-rhoE", "--include=*.ts", "--exclude=*_test.ts", 'code: "[a-z_]+"'];
    const { stdout } = await run([...grep, `${root}lib`, `${root}cmd`]);
    const codes = new Set([...stdout.matchAll(/"(\w+)"/g)].map(([, code]) => code!));
    assert.ok(codes.size > 20);
    const text = `${helps.join("")} interrupted bug`;
    assert.deepEqual([...codes].filter((code) => !text.includes(code)), []);
  });
});

Deno.test("davit --version is a word for people and an object for scripts", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  assert.equal((await davit(["--version"])).stdout, `davit ${version}\n`);
  for (const args of [["--version", "--json"], ["--json", "-V"]]) {
    const facts = JSON.parse((await davit(args)).stdout);
    assert.equal(facts.version, version);
    assert.equal(facts.deno, Deno.version.deno);
  }
});

Deno.test("davit config show names the origin of each value", async () => {
  await using dir = await tempDir("config");
  await Deno.mkdir(dir.join(".config", "davit"), { recursive: true });
  await Deno.writeTextFile(
    dir.join(".config", "davit", "config.yaml"),
    "image:\n  mode: 0640\n  retries: 2\n",
  );
  const env = { HOME: dir.path, DAVIT_IMAGE_RETRIES: "7" };
  const { code, stdout, stderr } = await davit(["config", "show", "--json", "--log-level", "debug"], { env });
  assert.equal(code, 0, stderr);
  const settings = new Map(
    (JSON.parse(stdout).settings as { key: string; value: unknown; origin: { kind: string; name: string } }[])
      .map(({ key, value, origin }) => [key, [value, origin.kind, origin.name]]),
  );
  assert.deepEqual(settings.get("image.mode"), [0o640, "file", `${dir.path}/.config/davit/config.yaml:2`]);
  assert.deepEqual(settings.get("image.retries"), [7, "environment", "DAVIT_IMAGE_RETRIES"]);
  assert.deepEqual(settings.get("log_level"), ["debug", "flag", "--log-level"]);
  assert.deepEqual(settings.get("image.connections")?.slice(1), ["default", "default"]);
  const plain = await davit(["config", "show"], { env });
  assert.match(plain.stdout, /^image\.mode +0640 +.*config\.yaml:2$/m);
  await Deno.writeTextFile(dir.join(".config", "davit", "config.yaml"), "image:\n  mode: 0640\n  retry: 2\n");
  const bad = await davit(["image", "check", "x"], { env });
  assert.equal(bad.code, 78);
  assert.match(bad.stderr, /line 3: no setting is called "image\.retry"/);
});

Deno.test("davit: a reader of stdout that is gone, or a full disk behind it, is an error and no crash", async (t) => {
  const shell = (redirection: string) =>
    run(["bash", "-c", `"$@" ${redirection}`, "sh", ...davitArgv(["config", "show"])], { env: davitEnv() });
  await t.step("full", async () => {
    const { code, stderr } = await shell(">/dev/full");
    assert.equal(code, 74, stderr);
    assert.match(stderr, /Cannot write the result to stdout/);
  });
  await t.step("gone", async () => {
    const { stdout } = await shell("| head -c 0; echo ${PIPESTATUS[0]}");
    assert.ok(["74\n", "0\n"].includes(stdout), "small output may fit into the pipe before it is closed");
  });
  await t.step("closed", async () => assert.equal((await shell(">&-")).code, 0));
  await t.step("stderr closed", async () => assert.equal((await shell("2>&-")).code, 0));
});

Deno.test("davit: diagnostics are logfmt lines, JSON lines with --json, and can be turned down", async () => {
  await using dir = await tempDir("log");
  const file = dir.join('odd "name"');
  await Deno.writeTextFile(file, "x");
  const plain = await davit(["image", "check", file]);
  assert.match(plain.stderr, /^davit: Cannot use image ".*": it has 1 bytes.*\nhint: /);
  const json = await davit(["image", "check", file, "--json"]);
  assert.equal(JSON.parse(json.stderr).error.code, "invalid_image");
});

Deno.test({
  name: "davit completions complete in the shells themselves",
  ...needs({ programs: ["bash", "zsh", "fish"] }),
  async fn(t) {
    await using dir = await tempDir("completions");
    for (const shell of ["bash", "zsh", "fish"]) {
      const { code, stdout } = await davit(["completions", shell]);
      assert.equal(code, 0);
      await Deno.writeTextFile(dir.join(shell), stdout);
    }
    const rows: [string[], string[], string[]][] = [
      [["davit", ""], ["image", "import", "config", "completions"], ["path"]],
      [["davit", "image", ""], ["import", "check", "path"], ["completions"]],
      [["davit", "image", "import", "--comp"], ["--compression"], ["--mkdir"]],
      [["davit", "image", "import", "--compression", ""], ["lz4", "zstd"], ["--output"]],
      [["davit", "completions", ""], ["bash", "fish"], ["image"]],
    ];
    for (const [words, wanted, unwanted] of rows) {
      await t.step(words.join(" "), async () => {
        const quoted = words.map((word) => `"${word}"`).join(" ");
        const bash = `_words() { COMP_WORDS=(${quoted}); COMP_CWORD=${
          words.length - 1
        }; _davit; printf '%s\\n' "\${COMPREPLY[@]}"; }; _words`;
        const outputs = [
          await run(["bash", "-c", `source "$0"; ${bash}`, dir.join("bash")]),
          await run(["zsh", "-fc", `setopt ksharrays; source "$0"; ${bash}`, dir.join("zsh")]),
          await run([
            "fish",
            "--no-config",
            "-c",
            `source $argv[1]; complete -C '${words.join(" ")}'`,
            dir.join("fish"),
          ]),
        ];
        for (const { stdout, stderr } of outputs) {
          const offered = stdout.split("\n").map((line) => line.split("\t")[0]);
          for (const word of wanted) assert.ok(offered.includes(word), `${word} in ${stdout} ${stderr}`);
          for (const word of unwanted) assert.ok(!offered.includes(word), word);
        }
      });
    }
  },
});
