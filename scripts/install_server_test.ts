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
  standIn,
  sumsOf,
  toolbox,
} from "../testdata/install_sh.ts";
import { needs } from "../testdata/needs.ts";
import { run } from "../testdata/run.ts";

const installable = needs({ programs: INSTALL_PROGRAMS });
const bytes = standIn("1.2.3");

/** What a downloader says of a connection that broke differs; what becomes of it must not. */
interface Fault {
  name: string;
  answer(path: string): Response;
  path: "file" | "sums";
  code: number;
  message: RegExp;
}

function brokenStream(sent: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start: (controller) => controller.enqueue(sent),
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      controller.error(new Error("cut"));
    },
  });
}

const NO_DOWNLOAD = /^davit: Cannot download "http:\/\/127\.0\.0\.1:\d+\/[^"]+": status \d+, [^\n]+\n$/;
const DAMAGED =
  /^davit: Cannot install davit: "davit-\S+-linux-portable" is damaged, its SHA-256 is [0-9a-f]{64}, /;
const NO_LINE = /^davit: Cannot verify davit: SHA256SUMS has no line for "davit-\S+-linux-portable"\n$/;
const FAULTS: Fault[] = [
  {
    name: "404 for the file",
    path: "file",
    answer: () => new Response("no", { status: 404 }),
    code: 69,
    message: NO_DOWNLOAD,
  },
  {
    name: "404 for the sums",
    path: "sums",
    answer: () => new Response("no", { status: 404 }),
    code: 69,
    message: NO_DOWNLOAD,
  },
  {
    name: "503",
    path: "file",
    answer: () => new Response("busy", { status: 503 }),
    code: 69,
    message: NO_DOWNLOAD,
  },
  {
    name: "a file that is cut half-way, of unknown length",
    path: "file",
    answer: () => new Response(brokenStream(bytes.slice(0, bytes.length / 2))),
    code: 69,
    message: new RegExp(`${NO_DOWNLOAD.source}|${DAMAGED.source}`),
  },
  {
    name: "a file that is cut half-way, of known length",
    path: "file",
    answer: () =>
      new Response(brokenStream(bytes.slice(0, bytes.length / 2)), {
        headers: { "content-length": String(bytes.length) },
      }),
    code: 69,
    message: new RegExp(`${NO_DOWNLOAD.source}|${DAMAGED.source}`),
  },
  {
    name: "a file that is half of it, and whole as far as HTTP can tell",
    path: "file",
    answer: () => new Response(bytes.slice(0, bytes.length / 2)),
    code: 65,
    message: DAMAGED,
  },
  {
    name: "a flipped byte",
    path: "file",
    answer: () => new Response(bytes.with(bytes.length - 2, 0x79) as Uint8Array<ArrayBuffer>),
    code: 65,
    message: DAMAGED,
  },
  {
    name: "an empty file",
    path: "file",
    answer: () => new Response(new Uint8Array(0)),
    code: 65,
    message: DAMAGED,
  },
  {
    name: "a login page for everything",
    path: "sums",
    answer: () => new Response("<html>\n<body>Please log in: davit-x86_64-linux-portable</body>\n"),
    code: 65,
    message: NO_LINE,
  },
  {
    name: "empty sums",
    path: "sums",
    answer: () => new Response(""),
    code: 65,
    message: NO_LINE,
  },
  {
    name: "sums that are cut in the file's line",
    path: "sums",
    answer: () => new Response(`${"0".repeat(64)}  ${FILE_NAME.slice(0, -3)}`),
    code: 65,
    message: NO_LINE,
  },
  {
    name: "sums with another sum",
    path: "sums",
    answer: () => new Response(`${"0".repeat(64)} *${FILE_NAME}`),
    code: 65,
    message: DAMAGED,
  },
];

Deno.test({
  ...installable,
  name: "install.sh keeps the old davit whatever the server does",
  async fn(t) {
    for (const downloader of DOWNLOADERS) {
      for (const { name, path, answer, code, message } of FAULTS) {
        await t.step(`${downloader}: ${name}`, async () => {
          await using place = await oldInstallation();
          const tools = await toolbox(place.join("tools"), [downloader, "sha256sum"]);
          await using server = await serveRelease("1.2.3", {
            [path === "sums" ? "/SHA256SUMS" : `/${FILE_NAME}`]: (request) => answer(request.url),
          });
          const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: tools });
          const result = await run(["/bin/dash", INSTALL_SH, "--dir", place.bin], { env });
          assert.match(result.stderr, message);
          // busybox wget takes the end of a connection for the end of a file; the sum then tells.
          assert.ok(
            result.code === code || DAMAGED.test(result.stderr) && result.code === 65,
            String(result.code),
          );
          assert.equal(result.stdout, "");
          await place.assertKept();
        });
      }
      await t.step(`${downloader}: nobody listens`, async () => {
        await using place = await oldInstallation();
        const tools = await toolbox(place.join("tools"), [downloader, "sha256sum"]);
        const gone = serve({});
        await gone[Symbol.asyncDispose]();
        const env = installEnv({ DAVIT_BASE_URL: gone.url, PATH: tools });
        const result = await run(["/bin/dash", INSTALL_SH, "--dir", place.bin], { env });
        assert.equal(result.code, 69);
        assert.match(result.stderr, NO_DOWNLOAD);
        await place.assertKept();
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh takes its time with a slow server, and follows where it points",
  async fn(t) {
    for (const downloader of DOWNLOADERS) {
      await t.step(downloader, async () => {
        await using place = await oldInstallation();
        const tools = await toolbox(place.join("tools"), [downloader, "sha256sum"]);
        let offset = 0;
        const drip = new ReadableStream<Uint8Array<ArrayBuffer>>({
          async pull(controller) {
            if (offset >= bytes.length) return controller.close();
            await new Promise((resolve) => setTimeout(resolve, 250));
            controller.enqueue(bytes.slice(offset, offset + bytes.length / 12));
            offset += Math.floor(bytes.length / 12);
          },
        });
        await using mirror = serve({ "/else/where": () => new Response(drip) });
        await using server = await serveRelease("1.2.3", {
          [`/${FILE_NAME}`]: () => Response.redirect(`${mirror.url}/else/where`),
        });
        const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: tools });
        // Less than the whole takes: only silence counts.
        const argv = ["/bin/dash", INSTALL_SH, "--dir", place.bin, "--timeout", "2"];
        const { code, stderr } = await run(argv, { env });
        assert.deepEqual([code, stderr], [0, ""]);
        assert.deepEqual(await Deno.readFile(`${place.bin}/davit`), bytes);
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh gives a silent server up",
  async fn(t) {
    for (const downloader of ["curl", "wget"]) {
      await t.step(downloader, async () => {
        await using place = await oldInstallation();
        const tools = await toolbox(place.join("tools"), [downloader, "sha256sum"]);
        await using server = await serveRelease("1.2.3", {
          [`/${FILE_NAME}`]: () =>
            new Response(
              new ReadableStream({ start: (controller) => controller.enqueue(bytes.slice(0, 1000)) }),
            ),
        });
        const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: tools });
        const argv = ["/bin/dash", INSTALL_SH, "--dir", place.bin, "--timeout", "1"];
        const { code, stderr } = await run(argv, { env });
        assert.equal(code, 69);
        assert.match(stderr, NO_DOWNLOAD);
        await place.assertKept();
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh takes the password from ~/.netrc, with curl and GNU wget",
  async fn(t) {
    const sums = await sumsOf({ [FILE_NAME]: bytes });
    const locked = (served: string | Uint8Array<ArrayBuffer>) => (request: Request) =>
      request.headers.get("authorization") === `Basic ${btoa("me:secret")}`
        ? new Response(served)
        : new Response(
          null,
          { status: 401, headers: { "www-authenticate": 'Basic realm="release"' } },
        );
    await using server = serve({ "/SHA256SUMS": locked(sums), [`/${FILE_NAME}`]: locked(bytes) });
    for (const downloader of ["curl", "wget"]) {
      await t.step(downloader, async () => {
        await using place = await oldInstallation();
        const tools = await toolbox(place.join("tools"), [downloader, "sha256sum"]);
        const netrc = "machine 127.0.0.1 login me password secret\n";
        await Deno.writeTextFile(place.join(".netrc"), netrc, { mode: 0o600 });
        const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: tools, HOME: place.root });
        const { code, stderr } = await run(["/bin/dash", INSTALL_SH, "--dir", place.bin], { env });
        assert.deepEqual([code, stderr], [0, ""]);
        assert.deepEqual(await Deno.readFile(`${place.bin}/davit`), bytes);
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh says that busybox wget may not check certificates",
  async fn() {
    await using place = await oldInstallation();
    const tools = await toolbox(place.join("tools"), ["busybox-wget", "sha256sum"]);
    await using server = serve({});
    const env = installEnv({ DAVIT_BASE_URL: server.url.replace("http:", "https:"), PATH: tools });
    const { code, stderr } = await run(["/bin/dash", INSTALL_SH, "--dir", place.bin], { env });
    assert.equal(code, 69);
    assert.match(
      stderr,
      /^davit: busybox wget may not check the certificate of "https:\/\/127\.0\.0\.1:\d+"\n/,
    );
    await place.assertKept();
  },
});
