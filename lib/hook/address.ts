/**
 * Where a hook server listens, as people and scripts write it.
 *
 * @module
 */
import { Failure } from "../failure.ts";

/** A server's place. */
export type ServerAddress =
  | { readonly transport: "unix"; readonly path: string }
  | { readonly transport: "tcp"; readonly hostname: string; readonly port: number };

const TCP_REGEXP = /^(?:(?:tcp|http):\/\/)?(\[[0-9a-fA-F:.%a-z]+\]|[^\s/:@]+):(\d{1,5})\/?$/;

/**
 * Reads `/run/davit.sock`, `unix:/run/davit.sock`, `127.0.0.1:4711`, `[::1]:4711`, `http://host:4711` or
 * `tcp://host:4711`. Throws a Failure (USAGE, `bad_server`).
 */
export function parseServer(text: string): ServerAddress {
  const path = text.replace(/^unix:(?:\/\/(?=\/))?/, "");
  if (path.startsWith("/")) return { transport: "unix", path };
  const [, host, digits] = TCP_REGEXP.exec(text) ?? [];
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new Failure("USAGE", `Cannot use server "${text}": expected /path/of.sock or host:port`, {
      code: "bad_server",
      hint: "`davit hook serve` prints its address when it starts",
    });
  }
  return { transport: "tcp", hostname: host.replace(/^\[|\]$/g, ""), port };
}

/** The address as {@linkcode parseServer} reads it. */
export function formatServer(address: ServerAddress): string {
  if (address.transport === "unix") return `unix:${address.path}`;
  const { hostname, port } = address;
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}
