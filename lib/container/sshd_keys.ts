/**
 * Keys for the sshd in the containers of one generation: made by ssh-keygen in a directory that only we can read
 * and that is gone afterwards. They have nothing to do with anybody's ~/.ssh.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { runTool } from "../host/run_tool.ts";
import type { HostMethods } from "./host_methods.ts";
import type { SpecHost } from "./spec.ts";

/** Keys in OpenSSH's formats, and the known_hosts that all containers share. */
export type SshdKeys = Pick<
  HostMethods["sshd"]["params"],
  "clientKey" | "clientPublicKey" | "hostKey" | "hostPublicKey" | "knownHosts"
>;

/**
 * Makes a client and a host key for `hosts`. One host key serves them all: whoever has root in one of the containers
 * can log in to the others anyway.
 */
export async function makeSshdKeys(
  hosts: readonly SpecHost[],
  { port, generation, signal }: { port: number; generation: string; signal: AbortSignal },
): Promise<SshdKeys> {
  const directory = await Deno.makeTempDir({ prefix: "davit-keys-" }); // 0700
  try {
    const client = await makeKey(`${directory}/client`, `davit-${generation}`, signal);
    const host = await makeKey(`${directory}/host`, `davit-host-${generation}`, signal);
    return {
      clientKey: client.secret,
      clientPublicKey: client.open,
      hostKey: host.secret,
      hostPublicKey: host.open,
      knownHosts: knownHosts(hosts, port, host.open),
    };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Every name and address by which the hosts may be called, each once. */
export function knownHosts(hosts: readonly SpecHost[], port: number, hostPublicKey: string): string {
  const [type, key] = hostPublicKey.trim().split(" ");
  const names = new Set(hosts.flatMap(({ name, address }) => [name, address]));
  return [...names].map((name) => `${port === 22 ? name : `[${name}]:${port}`} ${type} ${key}\n`).join("");
}

async function makeKey(path: string, comment: string, signal: AbortSignal) {
  const argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path];
  const end = await runTool(argv, { signal });
  if (end.kind === "missing") {
    throw new Failure("UNAVAILABLE", `Cannot make keys for sshd: there is no "ssh-keygen" on PATH`, {
      code: "missing_program",
      hint: "install openssh-client, or leave sshd out of the spec",
    });
  }
  if (end.kind !== "exit" || end.code !== 0) {
    throw new Failure("OSERR", `Cannot make keys for sshd: ssh-keygen failed: ${end.stderr.trim()}`, {
      code: "no_keys",
    });
  }
  return { secret: await Deno.readTextFile(path), open: await Deno.readTextFile(`${path}.pub`) };
}
