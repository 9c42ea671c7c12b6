/**
 * Who listens on a TCP port of this host, by /proc/net/tcp and the descriptors of processes; proc(5).
 *
 * @module
 */
import { errnoOf } from "../../host/errno.ts";

const LISTEN = "0A";

/** `pid 123 (command)`; undefined when nobody does, or it is not for us to see. */
export async function holderOfPort(port: number, proc = "/proc"): Promise<string | undefined> {
  const inodes = new Set(
    (await Promise.all(["tcp", "tcp6"].map((table) => listening(`${proc}/net/${table}`, port)))).flat(),
  );
  if (inodes.size === 0) return undefined;
  for await (const { name } of Deno.readDir(proc)) {
    if (/^\d+$/.test(name) && hasSocket(`${proc}/${name}/fd`, inodes)) {
      const command = (await Deno.readTextFile(`${proc}/${name}/cmdline`)).replaceAll("\0", " ").trim().slice(
        0,
        80,
      );
      return `pid ${name} (${command})`;
    }
  }
  return undefined;
}

async function listening(table: string, port: number): Promise<string[]> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  try {
    return (await Deno.readTextFile(table)).split("\n").map((line) => line.trim().split(/\s+/))
      .filter(([, address, , state]) => address?.endsWith(suffix) && state === LISTEN)
      .map((columns) => `socket:[${columns[9]}]`);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return []; // a kernel without IPv6
  }
}

function hasSocket(directory: string, sockets: ReadonlySet<string>): boolean {
  try {
    return [...Deno.readDirSync(directory)].some(({ name }) => {
      try {
        return sockets.has(Deno.readLinkSync(`${directory}/${name}`));
      } catch {
        return false; // closed meanwhile
      }
    });
  } catch {
    return false; // another user's, or it has ended
  }
}
