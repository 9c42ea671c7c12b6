/**
 * What the tests of scripts/install.sh share: the shells and downloaders it must work with, a release on
 * loopback, and a stand-in for davit, a small shell script, so that an installation takes milliseconds and a
 * version can be chosen. `--dir` or a mount namespace keeps the machine's own /usr/local/bin out of it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { sha256Hex } from "../scripts/pack.ts";
import { findProgram } from "./needs.ts";
import type { RunOptions } from "./run.ts";
import { tempDir } from "./temp.ts";

/** The script under test. */
export const INSTALL_SH = decodeURIComponent(new URL("../scripts/install.sh", import.meta.url).pathname);

/** The shells, as Debian has them. */
export const SHELLS = [["dash"], ["busybox", "sh"], ["bash", "--posix"]] as const;

/** Programs that download, by the name that {@linkcode toolbox} knows. */
export const DOWNLOADERS = ["curl", "wget", "busybox-wget"] as const;

/** For needs(). */
export const INSTALL_PROGRAMS = [
  "dash",
  "/bin/busybox",
  "bash",
  "curl",
  "wget",
  "shasum",
  "openssl",
] as const;

/** The name of the file that this machine downloads. */
export const FILE_NAME = `davit-${Deno.build.arch}-linux-portable`;

const BASICS = ["sh", "uname", "mktemp", "mkdir", "rm", "mv", "cp", "chmod", "tr", "cat"];
/** More than any buffer on the way, so that a cut or a kill falls into the file. */
const PADDING_BYTES = 1 << 20;

/** A program that answers `--version`, and otherwise runs until it is ended. */
export function standIn(version: string): Uint8Array<ArrayBuffer> {
  const script =
    `#!/bin/sh\n[ "$1" = --version ] && { echo "davit ${version}"; exit; }\necho runs; exec sleep 1000\n`;
  return new TextEncoder().encode(`${script}# ${"x".repeat(PADDING_BYTES)}\n`);
}

/** SHA256SUMS of files by name. */
export async function sumsOf(files: Record<string, Uint8Array<ArrayBuffer>>): Promise<string> {
  const lines = Object.entries(files).map(async ([name, bytes]) => `${await sha256Hex(bytes)}  ${name}\n`);
  return (await Promise.all(lines)).join("");
}

type Served = Uint8Array<ArrayBuffer> | string | ((request: Request) => Response | Promise<Response>);

/** A release on 127.0.0.1. */
export interface ReleaseServer extends AsyncDisposable {
  readonly url: string;
  /** The paths that were asked for, in order. */
  readonly requests: readonly string[];
}

/** Serves `files` by path ("/davit-…"); all else is 404. */
export function serve(files: Record<string, Served>): ReleaseServer {
  const requests: string[] = [];
  const abort = new AbortController();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    signal: abort.signal,
    onListen() {},
    onError: () => new Response(null, { status: 500 }),
  }, (request) => {
    const { pathname } = new URL(request.url);
    requests.push(pathname);
    const served = files[pathname];
    if (served === undefined) return new Response("no such file\n", { status: 404 });
    return typeof served === "function" ? served(request) : new Response(served);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    requests,
    async [Symbol.asyncDispose]() {
      abort.abort(); // not shutdown(): it would wait for answers that a test never ends
      await server.finished;
    },
  };
}

/** Serves a whole release of the stand-in, with install.sh, and what `changes` replaces. */
export async function serveRelease(
  version: string,
  changes: Record<string, Served> = {},
): Promise<ReleaseServer> {
  const bytes = standIn(version);
  return serve({
    "/install.sh": await Deno.readFile(INSTALL_SH),
    [`/${FILE_NAME}`]: bytes,
    "/SHA256SUMS": await sumsOf({ [FILE_NAME]: bytes }),
    ...changes,
  });
}

/** A directory of links to programs, to be the whole PATH: what is not named is not there. */
export async function toolbox(path: string, names: readonly string[]): Promise<string> {
  await Deno.mkdir(path);
  for (const name of [...BASICS, ...names]) {
    const program = name.startsWith("busybox-") ? "/bin/busybox" : findProgram(name);
    if (program === undefined) throw new Error(`Cannot link "${name}": it is not on this machine`);
    await Deno.symlink(await Deno.realPath(program), `${path}/${name.replace(/^busybox-/, "")}`);
  }
  return path;
}

/** The environment of an installation: no proxy, and nothing of whoever runs the tests. */
export function installEnv(changes: Record<string, string | undefined> = {}): RunOptions["env"] {
  const proxies = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];
  return {
    ...Object.fromEntries([...proxies, "DAVIT_BASE_URL", "HOME"].map((name) => [name, undefined])),
    ...changes,
  };
}

/** A directory with an old davit (0.9.0) in it, to be replaced or kept; `await using` removes it. */
export async function oldInstallation(): Promise<
  AsyncDisposable & {
    root: string;
    bin: string;
    join(...parts: string[]): string;
    assertKept(): Promise<void>;
  }
> {
  const dir = await tempDir("install");
  const old = standIn("0.9.0");
  await Deno.mkdir(dir.join("bin"));
  await Deno.writeFile(dir.join("bin", "davit"), old, { mode: 0o755 });
  return {
    root: dir.path,
    bin: dir.join("bin"),
    join: dir.join,
    async assertKept() {
      const names = (await Array.fromAsync(Deno.readDir(dir.join("bin")))).map(({ name }) => name);
      assert.deepEqual(names, ["davit"], "nothing else is left behind");
      assert.deepEqual(await Deno.readFile(dir.join("bin", "davit")), old);
    },
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}
