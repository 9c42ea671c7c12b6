/**
 * From a file and flags to a ContainerSpec: YAML or JSON, the native form or a CVS cluster file. Every fault is
 * reported, with its line; scripts are read here, so that what is missing shows before any host is asked.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { fromCvs, isCvs } from "./cvs.ts";
import { shown } from "./spec_fields.ts";
import { hasCreateFlags, hostsOf, type SpecFlags, withFlags } from "./spec_flags.ts";
import { defaultName } from "./spec_name.ts";
import { Faults, type MapNode, parseNodes } from "./spec_node.ts";
import { readSpec, type ScriptField, type SpecDefaults } from "./spec_read.ts";
import { DEFAULT_SETUP, PACKAGED, PACKAGED_HASH } from "./spec_setup.ts";
import type { ContainerSpec, SpecScript } from "./spec.ts";
import { sha256 } from "./sha256.ts";

const FILE_LIMIT_BYTES = 4 << 20;
const SCRIPT_LIMIT_BYTES = 64 << 20;

/** What {@linkcode loadSpec} goes by. */
export interface LoadOptions {
  readonly flags?: SpecFlags | undefined;
  /** `create`: an image has to be named, and `--hosts` cannot pick some. `join`: a name will do. `hosts`: not even that. */
  readonly needs: "create" | "join" | "hosts";
  readonly defaults?: SpecDefaults | undefined;
  /** Whose default name it would be; CVS's {user-id}. */
  readonly user: string;
  /** For ~. */
  readonly home: string | undefined;
  /** Absolute; flags' paths are relative to it, and so is the spec file's. */
  readonly cwd: string;
}

/** A spec, ready for use. */
export interface LoadedSpec {
  readonly spec: ContainerSpec;
  /** Those of the file's hosts that `--hosts` picks; undefined means all. */
  readonly chosenHosts?: readonly string[];
  /** False where only a name was given: nothing is known of what the container is to be. */
  readonly isComplete: boolean;
  /** What a CVS file says that cannot be carried. */
  readonly warnings: readonly string[];
  /** The spec file, absolute. */
  readonly path?: string;
}

/** Loads a spec from `file` (none: from flags alone). */
export async function loadSpec(
  options: LoadOptions & { readonly file?: string | undefined },
): Promise<LoadedSpec> {
  if (options.file === undefined) return await readSpecText("{}", { ...options, path: undefined });
  const path = absolutePath(options.file, options.cwd);
  return await readSpecText(await readSpecFile(path), { ...options, path });
}

/** Reads the text of a spec file, or fails with `no_spec`. */
export async function readSpecFile(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readSmall(path, FILE_LIMIT_BYTES));
  } catch (error) {
    const reason = error instanceof TypeError ? "it is no UTF-8 text" : messageOf(error);
    throw new Failure(
      errnoOf(error) === "ENOENT" ? "NOINPUT" : "DATAERR",
      `Cannot read spec "${path}": ${reason}`,
      {
        code: "no_spec",
        cause: error,
      },
    );
  }
}

/** The same from a text; `path` is where it is from, for relative paths and messages. */
export async function readSpecText(
  text: string,
  { path, flags = {}, needs, defaults = {}, user, home, cwd }: LoadOptions & {
    readonly path: string | undefined;
  },
): Promise<LoadedSpec> {
  const faults = new Faults();
  const nodes = await parseNodes(text, faults);
  if (nodes === undefined) throw badSpec(path, faults.texts);
  if (nodes.kind !== "map") {
    throw badSpec(path, [`${nodes.place}: it is a ${nodes.kind}, wanted a map of keys`]);
  }
  const converted = isCvs(nodes) ? fromCvs(nodes, faults, { user }) : { native: nodes, notes: [] };
  const fileMap: MapNode = converted.native;
  const map = withFlags(fileMap, flags, cwd);
  const directory = path === undefined ? cwd : path.slice(0, path.lastIndexOf("/")) || "/";
  const absolute = (given: string, place: string) => {
    if (given !== "~" && !given.startsWith("~/")) {
      if (given.startsWith("~")) faults.add(place, `${shown(given)}: only ~ and ~/ are understood`);
      return absolutePath(given, directory);
    }
    if (home === undefined) faults.add(place, `${shown(given)}: HOME is not set`);
    return `${home}${given.slice(1)}`;
  };
  const read = readSpec(map, faults, { absolute, defaults });
  const isComplete = path !== undefined || hasCreateFlags(flags);
  if (needs === "create" && !map.entries.has("image") && read.spec.lifetime !== "no_launch") {
    faults.add("", "image is missing");
  }
  if (needs !== "hosts" && !map.entries.has("name") && !map.entries.has("image")) {
    faults.add("", `name is missing: give --name${path === undefined ? " or a spec with -f" : ""}`);
  }
  const chosenHosts = chosen(fileMap, flags, read.spec.hosts.map(({ name }) => name), faults);
  const setup = await readScript(
    read.setup?.kind === "path" || read.spec.sshd === undefined ? read.setup : { kind: "packaged" },
    read.spec.sshd !== undefined,
    faults,
  );
  const everyStart = await readScript(read.everyStart, false, faults);
  if (faults.texts.length > 0) throw badSpec(path, faults.texts);
  if (chosenHosts !== undefined && needs === "create") {
    throw new Failure(
      "USAGE",
      "Cannot use --hosts here: the spec names the hosts, wanted all of them together",
      {
        code: "hosts_twice",
        hint: "change the hosts in the spec, and use `up --fill` for what is new",
      },
    );
  }
  return {
    spec: {
      ...read.spec,
      name: read.name ?? (read.spec.image === "" ? "" : await defaultName(user, read.spec.image)),
      ...setup !== undefined && { setup },
      ...everyStart !== undefined && { everyStart },
    },
    ...chosenHosts !== undefined && { chosenHosts },
    isComplete,
    warnings: converted.notes,
    ...path !== undefined && { path },
  };
}

/** The failure that names every fault. */
export function badSpec(path: string | undefined, faults: readonly string[]): Failure {
  const what = path === undefined ? "Cannot use these flags" : `Cannot use spec "${path}"`;
  return new Failure(path === undefined ? "USAGE" : "DATAERR", `${what}: ${inOrder(faults).join("; ")}`, {
    code: "bad_spec",
    hint: "`davit container up --help` lists the flags, whose words are the keys of a spec",
  });
}

/** By line; what has none comes last. */
function inOrder(faults: readonly string[]): string[] {
  const lineOf = (fault: string) => Number(/^line (\d+)/.exec(fault)?.[1] ?? Infinity);
  return faults.toSorted((a, b) => lineOf(a) === lineOf(b) ? 0 : lineOf(a) - lineOf(b));
}

function chosen(
  file: MapNode,
  flags: SpecFlags,
  names: readonly string[],
  faults: Faults,
): string[] | undefined {
  const asked = hostsOf(flags);
  const hosts = file.entries.get("hosts")?.node;
  const isNamed = hosts?.kind === "list" || (hosts?.kind === "map" && hosts.entries.has("names"));
  if (asked === undefined || !isNamed) return undefined;
  for (const name of asked) {
    if (!names.includes(name)) faults.add("--hosts", `${shown(name)} is none of the spec's hosts`);
  }
  return names.filter((name) => asked.includes(name));
}

/** Without a script of its own, sshd needs the packaged one; nothing else does. */
async function readScript(
  field: ScriptField | undefined,
  isPackagedWanted: boolean,
  faults: Faults,
): Promise<SpecScript | undefined> {
  if (field === undefined || field.kind === "packaged") {
    return isPackagedWanted ? { path: PACKAGED, text: DEFAULT_SETUP, sha256: PACKAGED_HASH } : undefined;
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(
      await readSmall(field.path, SCRIPT_LIMIT_BYTES),
    );
    return { path: field.path, text, sha256: await sha256(text) };
  } catch (error) {
    const reason = error instanceof TypeError
      ? "it is no UTF-8 text"
      : errnoOf(error) === "ENOENT"
      ? "there is no such file"
      : messageOf(error);
    faults.add(field.place, `script ${shown(field.path)}: ${reason}`);
    return undefined;
  }
}

async function readSmall(path: string, limitBytes: number): Promise<Uint8Array> {
  const { size, isFile } = await Deno.stat(path);
  if (!isFile) throw new Error("it is not a regular file");
  if (size > limitBytes) throw new Error(`it has ${size} bytes, at most ${limitBytes} are read`);
  return await Deno.readFile(path);
}

function absolutePath(path: string, directory: string): string {
  return path.startsWith("/")
    ? path
    : `${directory === "/" ? "" : directory}/${path.replace(/^(?:\.\/)+/, "")}`;
}
