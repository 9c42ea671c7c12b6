/**
 * The directories into which the portable file unpacks itself. scripts/launcher.c chooses and fills them; here they
 * are looked at, made for others, and removed.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "./errno.ts";
import { escapeControls } from "./logfmt.ts";
import { spawnWithoutInput } from "./no_input.ts";
import { selfFacts, selfStart } from "./self.ts";

/** The launcher names a directory after the SHA-256 of what it holds. */
const CONTENT_NAME_REGEXP = /^[0-9a-f]{32}$/;
/** A first start takes a second; a disk may be slow, and 60 s are what the launcher waits for another. */
const UNPACK_TIMEOUT_MS = 600_000;

/** A directory that was removed, and what it held in bytes. */
export interface Removed {
  readonly directory: string;
  readonly bytes: number;
}

/**
 * Unpacks the running portable file below `dir`, readable by all. Gives the directory with the parts. Throws a
 * Failure (`not_portable`, `cannot_create`).
 */
export async function unpackInto(dir: string, signal: AbortSignal): Promise<string> {
  if (selfFacts().mode !== "portable") {
    throw new Failure(
      "USAGE",
      `Cannot unpack to "${dir}": this davit is no portable file, nothing is packed in it`,
      {
        code: "not_portable",
        hint: "`davit self` tells where it runs from",
      },
    );
  }
  // The launcher alone knows how to check and unpack: it is started with the directory as its only wish.
  const wanted = dir.startsWith("/") ? dir : `${Deno.cwd()}/${dir}`;
  const { argv, env } = selfStart();
  const made = await makeForAll(wanted);
  const { stdout, stderr } = await spawnWithoutInput(argv[0], {
    args: [...argv.slice(1), "self", "--json"],
    env: { ...env, DAVIT_CACHE: wanted },
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.any([signal, AbortSignal.timeout(UNPACK_TIMEOUT_MS)]),
  }).output();
  signal.throwIfAborted();
  const said = escapeControls(new TextDecoder().decode(stderr).split("\n")[0]!.replace(/^davit: /, ""));
  const unpacked = parseUnpacked(new TextDecoder().decode(stdout));
  const base = unpacked?.slice(0, unpacked.lastIndexOf("/"));
  if (unpacked === undefined || base !== await realPathOr(wanted)) {
    for (const path of made.reverse()) await removeEmpty(path);
    throw new Failure("CANTCREAT", `Cannot unpack to "${dir}": ${said || "it was not used"}`, {
      code: "cannot_create",
      hint:
        "it must be yours or root's, writable by nobody else, on a mount without noexec, with 110 MB free",
    });
  }
  // The runtime's own cache of this one start is of no use to others.
  for (const { name } of await Array.fromAsync(Deno.readDir(unpacked))) {
    if (name.startsWith("deno.")) await Deno.remove(`${unpacked}/${name}`, { recursive: true });
  }
  await Deno.chmod(unpacked, 0o755);
  await Deno.chmod(base, 0o755);
  return unpacked;
}

/** Makes `dir` and what is missing above it, for every user to enter, whatever the umask; gives what it made. */
async function makeForAll(dir: string): Promise<string[]> {
  const made: string[] = [];
  const names = dir.split("/").filter((name) => name !== "");
  for (const index of names.keys()) {
    const path = `/${names.slice(0, index + 1).join("/")}`;
    try {
      await Deno.mkdir(path);
      await Deno.chmod(path, 0o755);
      made.push(path);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      if (errno !== "EEXIST") return made; // the launcher will say what is wrong with it
    }
  }
  return made;
}

/** A directory that was not there before must not stay; with something in it, it is somebody's by now. */
async function removeEmpty(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

function parseUnpacked(json: string): string | undefined {
  try {
    const { unpacked } = JSON.parse(json) as { unpacked?: unknown };
    return typeof unpacked === "string" ? unpacked : undefined;
  } catch {
    return undefined; // it did not come to that: its stderr tells why
  }
}

async function realPathOr(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch {
    return path;
  }
}

/** What the parts in `directory` take, in bytes. */
export async function unpackedBytes(directory: string): Promise<number> {
  let sum = 0;
  for await (const { name, isFile, isDirectory } of Deno.readDir(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) sum += await unpackedBytes(path);
    else if (isFile) sum += (await Deno.lstat(path)).size;
  }
  return sum;
}

/** Removes unpacked directories in all the launcher's places, but not `current` unless `all`. */
export async function cleanCaches(
  env: Readonly<Record<string, string>>,
  { all, current }: { all: boolean; current: string | null | undefined },
): Promise<Removed[]> {
  const removed: Removed[] = [];
  for (const place of new Set(placesOf(env))) {
    for (const name of namesIn(place)) {
      const directory = `${place}/${name}`;
      if (!CONTENT_NAME_REGEXP.test(name) || (directory === current && !all)) continue;
      try {
        const bytes = await unpackedBytes(directory);
        await Deno.remove(directory, { recursive: true });
        removed.push({ directory, bytes });
      } catch (error) {
        if (errnoOf(error) === "ENOENT") continue; // another clean was faster
        throw new Failure("IOERR", `Cannot remove "${directory}": ${messageOf(error)}`, {
          code: "cannot_remove",
        });
      }
    }
  }
  return removed;
}

/** The launcher's list; it is the launcher that decides which of them will do. */
function placesOf({ DAVIT_CACHE, XDG_CACHE_HOME, HOME }: Readonly<Record<string, string>>): string[] {
  const own = `davit-${Deno.uid()}`;
  const candidates = [
    DAVIT_CACHE,
    XDG_CACHE_HOME && `${XDG_CACHE_HOME}/davit`,
    HOME && HOME !== "/" ? `${HOME}/.cache/davit` : undefined,
    "/var/cache/davit",
    `/var/tmp/${own}`,
    `/dev/shm/${own}`,
    `/tmp/${own}`,
  ];
  return candidates.flatMap((path) => {
    try {
      return path?.startsWith("/") ? [Deno.realPathSync(path)] : [];
    } catch {
      return []; // not there
    }
  });
}

/** A directory of another user's is not ours to clean, and a plain file there is none of ours. */
function namesIn(place: string): string[] {
  try {
    if (Deno.lstatSync(place).uid !== Deno.uid()) return [];
    return [...Deno.readDirSync(place)].map(({ name }) => name);
  } catch {
    return [];
  }
}
