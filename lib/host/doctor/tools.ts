/**
 * The programs that davit starts for images: squashfs-tools (PATH first, then those that the portable file
 * carries, as lib/image does), and enroot.
 *
 * @module
 */
import type { ProgramStart } from "../self.ts";
import { type Check, type Finding, shown } from "./check.ts";
import { findProgram, runProgram } from "./program.ts";

/** What the checks of programs need. */
export interface ToolSources {
  readonly env: Readonly<Record<string, string>>;
  /** How to start a tool that the portable file carries; undefined when there is none. */
  readonly bundledTool: (name: string) => ProgramStart | undefined;
}

const WANTED = [4, 5] as const;
const INSTALL = "install squashfs-tools 4.5 or newer, or use davit's portable file, which carries them";

/** sqfstar and unsquashfs. */
export function squashfsCheck(sources: ToolSources): Check {
  return { name: "squashfs-tools", look: (signal) => lookAtSquashfs(sources, signal) };
}

/** enroot, which davit does not need but whose users davit serves. */
export function enrootCheck({ env }: Pick<ToolSources, "env">): Check {
  return { name: "enroot", look: (signal) => lookAtEnroot(env, signal) };
}

interface Tool {
  readonly isUsable: boolean;
  readonly hangs: boolean;
  readonly words: string;
}

async function lookAtSquashfs(sources: ToolSources, signal: AbortSignal): Promise<Finding> {
  const [maker, reader] = await Promise.all([
    findTool("sqfstar", sources, signal),
    findTool("unsquashfs", sources, signal),
  ]);
  const detail = `${maker.words}; ${reader.words}`;
  if (maker.isUsable && reader.isUsable) return { state: "ok", detail };
  if (maker.isUsable) {
    return {
      state: "degraded",
      detail,
      cost: "`davit image check --deep` cannot walk an image; imports work",
      mend: INSTALL,
    };
  }
  const state = maker.hangs ? "degraded" : "missing";
  return { state, detail, cost: "`davit image import` cannot make an image", mend: INSTALL };
}

async function findTool(
  name: string,
  { env, bundledTool }: ToolSources,
  signal: AbortSignal,
): Promise<Tool> {
  const path = await findProgram(name, env);
  const bundled = bundledTool(name);
  const own = path === undefined
    ? { isUsable: false, hangs: false, words: `${name} is not on PATH` }
    : await askVersion(name, { argv: [path], env: {} }, shown(path), env, signal);
  if (own.isUsable || bundled === undefined) return own;
  return await askVersion(name, bundled, "carried by davit", env, signal);
}

async function askVersion(
  name: string,
  start: ProgramStart,
  where: string,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Tool> {
  const ended = await runProgram(start, ["-version"], { env, signal });
  const unusable = (words: string, hangs = false): Tool => ({ isUsable: false, hangs, words });
  if (ended.kind === "hung") return unusable(`${name} (${where}) does not answer`, true);
  if (ended.kind === "unusable") return unusable(`${name} (${where}) cannot be started: ${ended.errno}`);
  const version = /\bversion (\d+)\.(\d+)(\S*)/.exec(ended.text);
  if (version === null) return unusable(`${name} (${where}) does not tell its version: ${told(ended.text)}`);
  const [, major, minor, rest = ""] = version;
  const isUsable = name !== "sqfstar" || isNewEnough(Number(major), Number(minor));
  const words = `${name} ${major}.${minor}${shown(rest)} (${where})`;
  return { isUsable, hangs: false, words: isUsable ? words : `${words} is too old, 4.5 was wanted` };
}

function isNewEnough(major: number, minor: number): boolean {
  return major > WANTED[0] || (major === WANTED[0] && minor >= WANTED[1]);
}

function told(text: string): string {
  return text === "" ? "it prints nothing" : `"${shown(text.split("\n")[0]!)}"`;
}

async function lookAtEnroot(
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Finding> {
  const cost = "containers cannot be started by enroot or pyxis; davit itself makes images without it";
  const path = await findProgram("enroot", env);
  if (path === undefined) {
    return {
      state: "missing",
      detail: "it is not on PATH",
      cost,
      mend: "install it from NVIDIA's enroot releases",
    };
  }
  const ended = await runProgram({ argv: [path], env: {} }, ["version"], { env, signal });
  if (ended.kind === "exit" && ended.code === 0) {
    return { state: "ok", detail: `${told(ended.text)} (${shown(path)})` };
  }
  const what = ended.kind === "hung"
    ? "does not answer"
    : ended.kind === "unusable"
    ? `cannot be started: ${ended.errno}`
    : `fails: ${told(ended.text)}`;
  return {
    state: "degraded",
    detail: `${shown(path)} ${what}`,
    cost,
    mend: "run `enroot version` by hand and mend what it says",
  };
}
