import assert from "node:assert/strict";
import {
  DOWNLOADERS,
  FILE_NAME,
  INSTALL_PROGRAMS,
  INSTALL_SH,
  installEnv,
  oldInstallation,
  serve,
  serveRelease,
  SHELLS,
  standIn,
  sumsOf,
  toolbox,
} from "../testdata/install_sh.ts";
import { needs } from "../testdata/needs.ts";
import { run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";

const installable = needs({ programs: INSTALL_PROGRAMS });
const script = await Deno.readTextFile(INSTALL_SH);

async function namesIn(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name).sort();
}

Deno.test({
  ...installable,
  name: "curl | sh installs in each shell",
  async fn(t) {
    for (const shell of SHELLS) {
      await t.step(shell.join(" "), async () => {
        await using dir = await tempDir("install");
        await using server = await serveRelease("1.2.3");
        const bin = dir.join("new", "bin");
        const pipe = `curl -fsSL "$DAVIT_BASE_URL/install.sh" | ${shell.join(" ")} -s -- --dir "$0"`;
        const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: `${Deno.env.get("PATH")}:${bin}` });
        const { code, stdout, stderr } = await run(["sh", "-c", pipe, bin], { env });
        assert.deepEqual([code, stderr], [0, ""]);
        assert.equal(stdout, `davit: installed davit 1.2.3 as ${bin}/davit (SHA-256 verified)\n`);
        assert.deepEqual(await namesIn(bin), ["davit"]);
        assert.deepEqual(await Deno.readFile(`${bin}/davit`), standIn("1.2.3"));
        assert.equal((await Deno.stat(`${bin}/davit`)).mode! & 0o7777, 0o755);
        assert.deepEqual(server.requests, ["/install.sh", "/SHA256SUMS", `/${FILE_NAME}`]);
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh makes do with any downloader and any program for SHA-256",
  async fn(t) {
    const sums = ["sha256sum", "busybox-sha256sum", "shasum", "openssl"];
    const pairs = [
      ...DOWNLOADERS.map((downloader) => [downloader, "sha256sum"]),
      ...sums.map((sum) => ["curl", sum]),
    ];
    await using server = await serveRelease("1.2.3");
    for (const [downloader, sum] of pairs) {
      await t.step(`${downloader}, ${sum}`, async () => {
        await using place = await oldInstallation();
        const tools = await toolbox(place.join("tools"), [downloader!, sum!]);
        const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: tools });
        const { code, stderr } = await run(["/bin/dash", INSTALL_SH, "--dir", place.bin], { env });
        assert.deepEqual([code, stderr], [0, ""]);
        assert.deepEqual(await namesIn(place.bin), ["davit"]);
        assert.deepEqual(await Deno.readFile(`${place.bin}/davit`), standIn("1.2.3"));
      });
    }
    await t.step("busybox alone, with its own commands", async () => {
      await using place = await oldInstallation();
      await Deno.mkdir(place.join("none"));
      const env = installEnv({ DAVIT_BASE_URL: `${server.url}/`, PATH: place.join("none") });
      const { code, stderr } = await run(["/bin/busybox", "sh", INSTALL_SH, "--dir", place.bin], { env });
      assert.deepEqual([code, stderr], [0, ""]);
      assert.deepEqual(await Deno.readFile(`${place.bin}/davit`), standIn("1.2.3"));
    });
    for (
      const [names, message] of [
        [["curl"], /^davit: Cannot verify davit: there is none of sha256sum, shasum and openssl\n/],
        [["sha256sum"], /^davit: Cannot download davit: there is neither curl nor wget\n/],
      ] as const
    ) {
      await t.step(`refuses to work with ${names} alone`, async () => {
        await using place = await oldInstallation();
        const tools = await toolbox(place.join("tools"), names);
        const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: tools });
        const { code, stderr } = await run(["/bin/dash", INSTALL_SH, "--dir", place.bin], { env });
        assert.equal(code, 69);
        assert.match(stderr, message);
        await place.assertKept();
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh does nothing when its own download was cut short",
  async fn(t) {
    // Where its lines end, and each byte of the last ones. The last newline may be missing.
    const ends = [...script.matchAll(/\n/g)].map(({ index }) => index);
    const last = Array.from({ length: 150 }, (_, index) => script.length - 2 - index);
    const cuts = [...new Set([0, ...ends, ...last])].filter((at) => at <= script.length - 2);
    for (const shell of SHELLS) {
      await t.step(shell.join(" "), async () => {
        await using place = await oldInstallation();
        const loop = `for at in ${cuts.join(" ")}; do
          head -c $at "$0" | ${shell.join(" ")} -s -- --uninstall --dir "$1" 2>/dev/null
          [ -e "$1/davit" ] || { echo "removed at $at"; exit 1; }
        done; echo whole; ${shell.join(" ")} -s -- --uninstall --dir "$1" <"$0"`;
        const { stdout } = await run(["sh", "-c", loop, INSTALL_SH, place.bin], { env: installEnv() });
        assert.match(stdout, /^whole\ndavit: removed \S+\/bin\/davit; its cache stays/);
        assert.deepEqual(await namesIn(place.bin), []);
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh --version takes that version's directory, and nothing else in its place",
  async fn() {
    await using place = await oldInstallation();
    const [right, wrong] = [standIn("1.0.0"), standIn("6.6.6")];
    await using server = serve({
      "/v1.0.0/SHA256SUMS": await sumsOf({ other: wrong, [FILE_NAME]: right }),
      [`/v1.0.0/${FILE_NAME}`]: right,
      "/v1.0.1/SHA256SUMS": await sumsOf({ [FILE_NAME]: wrong }),
      [`/v1.0.1/${FILE_NAME}`]: wrong,
    });
    const install = (version: string) =>
      run(["dash", INSTALL_SH, "--dir", place.bin, "--version", version], {
        env: installEnv({ DAVIT_BASE_URL: server.url }),
      });
    const other = await install("1.0.1");
    assert.equal(other.code, 65);
    assert.match(
      other.stderr,
      /^davit: Cannot install davit 1\.0\.1: the server has "davit 6\.6\.6" in its place\n/,
    );
    await place.assertKept();
    for (const version of ["v1.0.0", "1.0.0"]) {
      const { code, stdout } = await install(version);
      assert.equal(code, 0);
      assert.match(stdout, /^davit: installed davit 1\.0\.0 as /);
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh refuses arguments and settings that it does not understand, before it does anything",
  async fn(t) {
    await using place = await oldInstallation();
    const cases: [args: string[], url: string | undefined, code: number, message: RegExp][] = [
      [[], undefined, 78, /DAVIT_BASE_URL is not set, and no file was given\nhint: export DAVIT_BASE_URL=/],
      [[], "", 78, /DAVIT_BASE_URL is not set/],
      [[], "ftp://127.0.0.1/x", 78, /"ftp:\/\/127.0.0.1\/x": an http:\/\/ or https:\/\/ address was wanted/],
      [[], "127.0.0.1:1", 78, /address was wanted/],
      [[], "http://me:secret@127.0.0.1:1", 78, /^(?!.*secret).*in every process list\nhint: .*netrc/],
      [["--dri", "/x"], "http://127.0.0.1:1", 64, /unknown option "--dri"/],
      [["--dir"], "http://127.0.0.1:1", 64, /--dir needs a value/],
      [["--dir", ""], "http://127.0.0.1:1", 64, /--dir needs a value/],
      [[""], "http://127.0.0.1:1", 64, /unknown option ""/],
      [["--version", "../1"], "http://127.0.0.1:1", 64, /"..\/1": it is no version/],
      [["--version", "v"], "http://127.0.0.1:1", 64, /"v": it is no version/],
      [["--version", "1/2"], "http://127.0.0.1:1", 64, /it is no version/],
      [["--timeout", "0"], "http://127.0.0.1:1", 64, /"0": give whole seconds/],
      [["--timeout", "1m"], "http://127.0.0.1:1", 64, /"1m": give whole seconds/],
      [["--version", "1", INSTALL_SH], undefined, 64, /exclude each other/],
      [["--uninstall", INSTALL_SH], undefined, 64, /exclude each other/],
      [["--uninstall", "--version", "1"], undefined, 64, /exclude each other/],
      [["a", "b"], undefined, 64, /"b" is a second file/],
    ];
    for (const [args, url, status, message] of cases) {
      await t.step(`${args.join(" ")} ${url ?? ""}`, async () => {
        const env = installEnv({ DAVIT_BASE_URL: url });
        // What is taken wrongly may reach only a place of this test.
        const argv = ["dash", INSTALL_SH, "--dir", place.bin, ...args];
        const { code, stdout, stderr } = await run(argv, { env });
        assert.deepEqual([code, stdout], [status, ""]);
        assert.match(stderr, message);
        await place.assertKept();
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh --help shows every option",
  async fn() {
    const { code, stdout, stderr } = await run(["dash", INSTALL_SH, "--help"], { env: installEnv() });
    assert.deepEqual([code, stderr], [0, ""]);
    const accepted = new Set(
      [...script.matchAll(/^ {6}(--[a-z |-]+)\)/gm)].flatMap(([, list]) => list!.split(" | ")),
    );
    assert.deepEqual(accepted.size, 5);
    for (const option of accepted) assert.match(stdout, new RegExp(`^  ${option} `, "m"));
  },
});
