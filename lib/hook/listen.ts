/**
 * Where a hook server listens: a unix socket that is made again when a job removed it, and TCP on both families of
 * addresses, or on the one that the machine has.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { splitPath } from "../host/publish.ts";
import { inDirectory } from "./directory_lock.ts";

/** Answers a request. */
export type Handler = (request: Request) => Promise<Response>;

/** Something that listens. */
export interface Listening {
  /** As clients write it. */
  readonly address: string;
  readonly port?: number;
  /** Mends what a job broke; to be called now and then. Says what it did. */
  check(): Promise<string | undefined>;
  /** Stops listening; what is open stays open. */
  close(): void;
}

const nothing = () => {};
const RETIRE_ROUNDS = 100;
const RETIRE_ROUND_MS = 5;

/** Listens on a unix socket that only users with `mode` may use. Throws a Failure. */
export async function listenUnix(
  path: string,
  { mode, handler, log }: { mode: number; handler: Handler; log: Log },
): Promise<Listening> {
  const { directory } = splitPath(path);
  let server = await inDirectory(directory, async () => {
    await clearSocket(path);
    return serveUnix(path, mode, handler);
  });
  let inode = inodeOf(path);
  let isMending = false;
  let isLost = false;
  let saidWhy = "";

  /** Says what it did; undefined where somebody else was faster. */
  async function mend(): Promise<string | undefined> {
    if (inodeOf(path) === inode) return undefined;
    // Taking it back would begin a fight: that server looks after it as we do.
    if (await isListenedOn(path)) {
      isLost = true;
      return `socket ${path} is another server's now: nobody new comes to this one by it`;
    }
    await retire(server, path);
    server = serveUnix(path, mode, handler);
    inode = inodeOf(path);
    return `socket ${path} was removed by the job; made again`;
  }

  async function check(): Promise<string | undefined> {
    if (isMending || isLost || inodeOf(path) === inode) return undefined;
    isMending = true;
    try {
      await Deno.mkdir(directory, { recursive: true });
      const text = await inDirectory(directory, mend);
      saidWhy = "";
      return text;
    } catch (error) {
      const why = messageOf(error);
      if (why !== saidWhy) log.warn("cannot make the socket again", { socket: path, why });
      saidWhy = why;
      return undefined;
    } finally {
      isMending = false;
    }
  }

  return {
    address: `unix:${path}`,
    check,
    close() {
      void server.shutdown().catch(nothing);
      if (inodeOf(path) === inode) removeIfThere(path);
    },
  };
}

/**
 * Closes a server that lost its socket; who is connected stays so. Deno removes the path a moment later, whoever's it
 * is by then: so something is put there to be removed.
 */
async function retire(server: Deno.HttpServer<Deno.UnixAddr>, path: string): Promise<void> {
  removeIfThere(path);
  await Deno.writeTextFile(path, "", { createNew: true, mode: 0o600 });
  void server.shutdown().catch(nothing);
  for (let round = 0; round < RETIRE_ROUNDS && lstatOr(path) !== undefined; round++) {
    await new Promise((resolve) => setTimeout(resolve, RETIRE_ROUND_MS));
  }
  removeIfThere(path);
}

function serveUnix(path: string, mode: number, handler: Handler): Deno.HttpServer<Deno.UnixAddr> {
  // The mode comes from the umask, which is the process's: nothing else runs meanwhile.
  const umask = Deno.umask(0o777 & ~mode);
  try {
    return Deno.serve({ path, onListen: nothing }, handler);
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) throw addressInUse(path);
    throw new Failure("UNAVAILABLE", `Cannot listen on "${path}": ${describe(error)}`, {
      code: "cannot_listen",
      hint: "give another --socket: at most 107 bytes, in a directory that we may write to",
      cause: error,
    });
  } finally {
    Deno.umask(umask);
  }
}

/** A socket that nobody listens on any more was left by a server that was killed. */
async function clearSocket(path: string): Promise<void> {
  const found = lstatOr(path);
  if (found === undefined) return;
  if (!found.isSocket) {
    throw new Failure("CANTCREAT", `Cannot listen on "${path}": what is there is no socket`, {
      code: "cannot_listen",
      hint: "give another --socket",
    });
  }
  let isTaken: boolean;
  try {
    isTaken = await isListenedOn(path);
  } catch (error) {
    throw new Failure("UNAVAILABLE", `Cannot listen on "${path}": ${describe(error)}`, {
      code: "cannot_listen",
      cause: error,
    });
  }
  if (isTaken) throw addressInUse(path);
  removeIfThere(path);
}

async function isListenedOn(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    // EAGAIN: its queue is full.
    if (errnoOf(error) === "EAGAIN") return true;
    // ENOTSOCK, EPROTOTYPE: something else lies there.
    if (["ECONNREFUSED", "ENOENT", "ENOTDIR", "ENOTSOCK", "EPROTOTYPE"].includes(errnoOf(error) ?? "")) {
      return false;
    }
    throw error;
  }
}

function addressInUse(path: string): Failure {
  return new Failure("TEMPFAIL", `Cannot listen on "${path}": another server listens there`, {
    code: "address_in_use",
    hint: "stop it, or give another --socket",
  });
}

/**
 * Listens on TCP. An empty host, `*` and `::` mean every address: both families on one port, where only one family
 * is there that one. Throws a Failure.
 */
export function listenTcp(
  { hostname, port }: { hostname: string; port: number },
  handler: Handler,
): Listening & { readonly port: number } {
  const servers = ["", "*", "::"].includes(hostname)
    ? serveEverywhere(port, handler)
    : [serveTcp(hostname, port, handler)];
  const { addr } = servers[0]!;
  const shown = addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname;
  return {
    address: `${shown}:${addr.port}`,
    port: addr.port,
    check: () => Promise.resolve(undefined),
    close() {
      for (const server of servers) void server.shutdown().catch(nothing);
    },
  };
}

function serveEverywhere(port: number, handler: Handler): Deno.HttpServer<Deno.NetAddr>[] {
  let six: Deno.HttpServer<Deno.NetAddr>;
  try {
    six = serveTcp("::", port, handler);
  } catch (error) {
    // No IPv6 at all: ipv6.disable=1 refuses the family, disable_ipv6=1 the address.
    if (error instanceof Failure && error.code === "address_in_use") throw error;
    return [serveTcp("0.0.0.0", port, handler)];
  }
  try {
    // Free only where net.ipv6.bindv6only keeps IPv4 out of the first.
    return [six, serveTcp("0.0.0.0", six.addr.port, handler)];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [six];
  }
}

function serveTcp(hostname: string, port: number, handler: Handler): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname, port, onListen: nothing }, handler);
  } catch (error) {
    const isTaken = error instanceof Deno.errors.AddrInUse;
    const shown = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
    throw new Failure(
      isTaken ? "TEMPFAIL" : "UNAVAILABLE",
      `Cannot listen on "${shown}": ${describe(error)}`,
      {
        code: isTaken ? "address_in_use" : "cannot_listen",
        hint: isTaken ? "stop what listens there, or give port 0 for a free one" : "give another --listen",
        cause: error,
      },
    );
  }
}

function describe(error: unknown): string {
  const errno = errnoOf(error);
  const words: Record<string, string> = {
    EACCES: "permission is denied",
    ENOENT: "its directory is not there",
    EROFS: "its directory is read-only",
    EINVAL: "its path is too long for a socket",
  };
  if (error instanceof Deno.errors.AddrInUse) return "the address is in use";
  return (errno && words[errno]) ?? messageOf(error);
}

function inodeOf(path: string): number | null | undefined {
  const found = lstatOr(path);
  return found?.isSocket ? found.ino : undefined;
}

function lstatOr(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
