/**
 * Where the sockets of shared ssh connections are: whoever can open one is logged in on the host, so they lie in a
 * directory that only this user can enter.
 *
 * @module
 */
import { messageOf } from "../../failure.ts";
import type { Log } from "../log.ts";

/** sun_path has 108 bytes; ssh puts 17 behind the name while it makes the socket. */
const SOCKET_PATH_LIMIT_BYTES = 107 - 17;
/** %C: a SHA-1 of local host, host, port, user and jump hosts. */
const HASH_CHARS = 40;

/**
 * A value for ControlPath, or undefined where no place will do. `key` keeps apart what ssh's own hash does not:
 * logins with other keys or options.
 */
export function controlPath(
  { env, key, log }: { env: Readonly<Record<string, string>>; key: string; log: Log },
): string | undefined {
  const runtime = env.XDG_RUNTIME_DIR;
  const places = [
    ...runtime?.startsWith("/") ? [`${runtime}/davit-ssh`] : [],
    `/tmp/davit-ssh-${Deno.uid()}`,
  ];
  for (const directory of places) {
    const path = `${directory}/${hash(key)}-`;
    // A percent sign would be ssh's.
    if (path.includes("%") || new TextEncoder().encode(path).length + HASH_CHARS > SOCKET_PATH_LIMIT_BYTES) {
      continue;
    }
    try {
      Deno.mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) {
        log.debug("no place for ssh's sockets", { directory, reason: messageOf(error) });
        continue;
      }
    }
    const { isDirectory, uid, mode } = Deno.lstatSync(directory);
    if (isDirectory && uid === Deno.uid() && ((mode ?? 0) & 0o077) === 0) return `${path}%C`;
    log.debug("ssh's sockets must not lie where others can go", { directory });
  }
  return undefined;
}

/** FNV-1a, 32 bits: it tells a handful of settings apart, nothing more. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value.toString(16).padStart(8, "0");
}
