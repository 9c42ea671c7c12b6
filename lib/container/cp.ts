/**
 * `cp`: files into the containers of all hosts, or out of them, one directory per host. What travels is a tar
 * stream, as `docker cp` has it; tar(1) makes and unpacks it at this end.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { spawnWithoutInput } from "../host/no_input.ts";
import { errnoOf } from "../host/errno.ts";
import { endOf } from "../host/process.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import { targetOf } from "./gather.ts";
import type { HostLink, Hosts } from "./hosts.ts";
import { fileNameOf } from "./kept_output.ts";
import { lockShared } from "./locks.ts";
import { allOrThrow } from "./outcomes.ts";
import type { ContainerSpec } from "./spec.ts";
import { usableContainers, type UseOptions } from "./usable.ts";

/** One end of a copy: `path` here, or `:path` in the containers. */
export interface CopyPlace {
  readonly isInContainer: boolean;
  readonly path: string;
}

/** See {@linkcode copy}. */
export interface CopyOptions extends UseOptions {
  readonly lockWaitMs: number;
}

/** Reads `:/path` or a path of this machine; `./:x` is one with a colon. */
export function parsePlace(text: string): CopyPlace {
  const isInContainer = text.startsWith(":");
  const path = isInContainer ? text.slice(1) : text;
  if (path !== "" && (!isInContainer || path.startsWith("/"))) return { isInContainer, path };
  throw new Failure("USAGE", `Cannot copy "${text}": wanted a path, or :/absolute/path in the containers`, {
    code: "usage",
  });
}

/**
 * Copies `source` into the directory `target`; exactly one of them is in the containers. Out of several hosts each has
 * a directory of its name below the target.
 */
export async function copy(
  hosts: Hosts,
  spec: ContainerSpec,
  { source, target }: { source: CopyPlace; target: CopyPlace },
  options: CopyOptions,
): Promise<string[]> {
  if (source.isInContainer === target.isInContainer) {
    throw new Failure("USAGE", "Cannot copy: wanted one path here and one :/path in the containers", {
      code: "usage",
      hint: "such as `davit container cp ./data :/work` or `davit container cp :/work/out ./out`",
    });
  }
  if (target.isInContainer) await mustExist(source.path);
  const containers = await usableContainers(hosts, spec, options);
  const names = [...containers.keys()];
  const outcomes = await hosts.each(async (host) => {
    await lockShared(host, spec.name, { ...options });
    const id = containers.get(host.name)!;
    if (target.isInContainer) await copyIn(host, spec, { id, source: source.path, target: target.path });
    else {
      const directory = names.length === 1 ? target.path : `${target.path}/${fileNameOf(host.name)}`;
      await copyOut(host, spec, { id, source: source.path, target: directory });
    }
  }, { names });
  allOrThrow(`copy ${target.isInContainer ? "into" : "out of"} container "${spec.name}"`, outcomes);
  return names;
}

async function mustExist(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    throw new Failure("NOINPUT", `Cannot copy "${path}": ${messageOf(error)}`, {
      code: "not_found",
      cause: error,
    });
  }
}

interface OneCopy {
  readonly id: string;
  readonly source: string;
  readonly target: string;
}

async function copyIn(host: HostLink, spec: ContainerSpec, { id, source, target }: OneCopy): Promise<void> {
  const path = source.replace(/(.)\/+$/, "$1");
  const at = path.lastIndexOf("/");
  const directory = at < 0 ? "." : path.slice(0, at) || "/";
  const name = path.slice(at + 1) || ".";
  const child = spawnTar(["-C", directory, "-cf", "-", "--", name]);
  const problem = stderrOf(child);
  const params = { ...targetOf(spec), id, directory: target };
  try {
    await host.call("copyIn", params, { timeoutMs: Infinity, input: child.stdout });
  } finally {
    await end(child);
  }
  await check(child, problem, `read "${source}"`);
}

async function copyOut(host: HostLink, spec: ContainerSpec, { id, source, target }: OneCopy): Promise<void> {
  await Deno.mkdir(target, { recursive: true });
  // The archive is the container's word: no owners, nothing above the target, no setuid.
  const child = spawnTar(["-C", target, "-xf", "-", "--no-same-owner", "--no-same-permissions"], true);
  const problem = stderrOf(child);
  const writer = child.stdin.getWriter();
  const params = { ...targetOf(spec), id, path: source };
  try {
    await host.call("copyOut", params, {
      timeoutMs: Infinity,
      onBytes: (channel, bytes) => channel === 1 ? writer.write(bytes.slice()) : undefined,
    });
    await writer.close();
  } catch (error) {
    await end(child);
    throw error;
  }
  await check(child, problem, `write to "${target}"`);
}

function spawnTar(args: readonly string[], hasInput = false): Deno.ChildProcess {
  const options = { args: [...args], env: { LC_ALL: "C" }, stderr: "piped" as const };
  try {
    if (!hasInput) return spawnWithoutInput("tar", { ...options, stdout: "piped" });
    return new Deno.Command("tar", { ...options, stdout: "null", stdin: "piped" }).spawn();
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    throw new Failure("UNAVAILABLE", `Cannot copy: there is no "tar" on PATH`, { code: "missing_program" });
  }
}

async function stderrOf(child: Deno.ChildProcess): Promise<string> {
  let kept = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stderr) {
    kept = (kept + decoder.decode(chunk, { stream: true })).slice(-2_000);
  }
  return kept.trim();
}

async function end(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended
  }
  await endOf(child);
}

async function check(child: Deno.ChildProcess, problem: Promise<string>, what: string): Promise<void> {
  const { code, signal } = await endOf(child);
  if (code === 0) return;
  const why = signal ?? escapeForTerminal(await problem);
  throw new Failure("IOERR", `cannot ${what}: ${why}`, { code: "cannot_copy" });
}
