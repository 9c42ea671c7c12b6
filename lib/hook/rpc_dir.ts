/**
 * The directory in which output is kept. Jobs clear /tmp, fill it, change its mode, plant links in it: so the
 * directory is looked at before each use and made again, and where it cannot be used the next candidate is, down to
 * none at all. Everything that is not as it was left is said.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { splitPath } from "../host/publish.ts";
import { Statfs } from "../host/statfs.ts";

/** A file without a name: nobody can remove it, nobody else can open it. */
export interface NamelessFile {
  /** Two descriptors, since each has one position. */
  readonly writer: Deno.FsFile;
  readonly reader: Deno.FsFile;
  readonly directory: string;
}

/** Which directories. */
export interface RpcDirOptions {
  /** Absolute paths, the best first. */
  readonly candidates: readonly string[];
  readonly log: Log;
  readonly uid?: number | null;
}

/** Directories that everybody writes to; when one is gone it is made again as it was. */
const SHARED = new Set(["/tmp", "/var/tmp", "/dev/shm"]);
const SHARED_MODE = 0o1777;
const OWN_MODE = 0o700;
const OTHERS_WRITE = 0o022;
/** Less room than this is none. */
const ROOM_BYTES = 1 << 20;
/** Quotas show only when something is written. */
const PROBE = new Uint8Array(4096);

/** Where output may be kept when nobody says where. */
export function rpcDirCandidates(given: string | undefined, home: string | undefined): string[] {
  const standard = ["/tmp/rpc-logs", "/dev/shm/rpc-logs", "/var/tmp/rpc-logs", "/run/rpc-logs"];
  const own = home?.startsWith("/") && home !== "/" ? [`${home}/.davit-rpc-logs`] : [];
  return [...new Set([...given === undefined ? [] : [given], ...standard, ...own])];
}

interface Identity {
  readonly dev: number;
  readonly ino: number | null;
}

/** Keeps one of the candidates usable. */
export class RpcDir {
  readonly #options: RpcDirOptions;
  readonly #uid: number | null;
  /** Directories that were ours once, and which they were. */
  readonly #known = new Map<string, Identity>();
  #path = "";
  #refusals = "";
  #notices: string[] = [];
  #wipes = 0;

  constructor(options: RpcDirOptions) {
    this.#options = options;
    this.#uid = options.uid === undefined ? Deno.uid() : options.uid;
  }

  /** The one in use; empty where none can be used. */
  get path(): string {
    return this.#path;
  }

  /** How often a directory in use was gone. */
  get wipes(): number {
    return this.#wipes;
  }

  /** What was noticed since the last call, each once. */
  takeNotices(): string[] {
    return this.#notices.splice(0);
  }

  /** Makes the directory in use again when it is gone. */
  check(): void {
    if (this.#path === "") return;
    try {
      const found = look(this.#path);
      if (this.#isKnown(this.#path, found) && (found!.mode! & OWN_MODE) === OWN_MODE) return;
      this.#claim(this.#path);
    } catch (error) {
      // The next file finds another place, and says so.
      this.#options.log.debug("cannot mend the rpc directory", {
        directory: this.#path,
        why: messageOf(error),
      });
    }
  }

  /** A new file in the first candidate that works; undefined where none does. */
  openFile(): NamelessFile | undefined {
    const refusals: string[] = [];
    for (const directory of this.#options.candidates) {
      try {
        this.#claim(directory);
        const file = openNameless(directory);
        this.#use(directory, refusals);
        return file;
      } catch (error) {
        if (errnoOf(error) === undefined && !(error instanceof Refused)) throw error;
        refusals.push(`cannot keep output in ${directory}: ${reasonOf(error)}`);
      }
    }
    this.#use("", refusals);
    return undefined;
  }

  #use(directory: string, refusals: readonly string[]): void {
    this.#path = directory;
    const text = refusals.join("; ");
    if (text === this.#refusals) return;
    this.#refusals = text;
    if (text === "") return this.#say(`output is kept in ${directory} again`);
    this.#say(`${text}; using ${directory === "" ? "memory" : directory}, no output lost`);
  }

  #say(text: string): void {
    this.#notices.push(text);
    this.#options.log.warn(text);
  }

  #isKnown(path: string, found: Deno.FileInfo | undefined): boolean {
    const known = this.#known.get(path);
    return found !== undefined && known !== undefined && found.isDirectory &&
      found.ino === known.ino && found.dev === known.dev;
  }

  /** Leaves a directory at `path` that is ours alone. Throws what says why it cannot be had. */
  #claim(path: string): void {
    const before = look(path);
    if (before === undefined) makeDirectory(path);
    const found = before ?? look(path);
    if (found === undefined) throw new Refused("it is removed as soon as it is made");
    if (found.isSymlink) throw new Refused("it is a symbolic link");
    if (!found.isDirectory) throw new Refused("it is no directory");
    if (found.uid !== this.#uid) throw new Refused(`it belongs to user ${found.uid}`);
    const mode = found.mode! & 0o7777;
    if ((mode & OWN_MODE) !== OWN_MODE || (mode & OTHERS_WRITE) !== 0) {
      Deno.chmodSync(path, OWN_MODE);
      if (this.#known.has(path)) this.#say(`mode of ${path} was changed by the job; changed back`);
    }
    const wasOurs = this.#known.has(path);
    // A directory that had to be made may have got the number of the one that is gone.
    const isSame = before !== undefined && this.#isKnown(path, found);
    this.#known.set(path, found);
    if (!wasOurs || isSame) return;
    this.#wipes++;
    const { directory } = splitPath(path);
    this.#say(`container ${directory} was cleared by the job; recreated ${path}, no output lost`);
  }
}

/** Why a candidate is passed over, in words. */
class Refused extends Error {}

function look(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function makeDirectory(path: string): void {
  const { directory: parent } = splitPath(path);
  if (look(parent) === undefined) {
    Deno.mkdirSync(parent, { recursive: true, mode: 0o755 });
    if (SHARED.has(parent)) Deno.chmodSync(parent, SHARED_MODE); // mkdir's own mode goes through the umask
  }
  try {
    Deno.mkdirSync(path, { mode: OWN_MODE });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error; // somebody was faster: whose it is will be seen
  }
}

function openNameless(directory: string): NamelessFile {
  const room = new Statfs(directory).read();
  if (room.availableBytes < ROOM_BYTES || room.freeInodes === 0) throw new Refused("no space is left");
  const path = `${directory}/${crypto.randomUUID()}`;
  const writer = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  let reader: Deno.FsFile | undefined;
  try {
    reader = Deno.openSync(path);
    Deno.removeSync(path);
    for (let at = 0; at < PROBE.length;) at += writer.writeSync(PROBE.subarray(at));
    writer.truncateSync(0);
    writer.seekSync(0, Deno.SeekMode.Start);
    return { writer, reader, directory };
  } catch (error) {
    writer.close();
    reader?.close();
    removeQuietly(path);
    throw error;
  }
}

/** After a failure: mostly it has no name any more. */
function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  const words: Record<string, string> = {
    EROFS: "it is read-only",
    EACCES: "permission is denied",
    EPERM: "permission is denied",
    ENOSPC: "no space is left",
    EDQUOT: "the quota is used up",
    ENOTDIR: "its parent is no directory",
    ELOOP: "its parent is a loop of links",
  };
  return (errno && words[errno]) ?? messageOf(error);
}
