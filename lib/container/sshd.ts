/**
 * sshd in the containers, for MPI between hosts: one pair of keys per generation, started where it does not run,
 * and checked by connecting from each container to the next.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import { SSHD_CONFIG, SSHD_GENERATION, SSHD_KEYS } from "./sshd_paths.ts";
import type { ContainerFacts } from "./facts.ts";
import { targetOf } from "./gather.ts";
import type { HostLink, Hosts } from "./hosts.ts";
import { allOrThrow, valuesOf } from "./outcomes.ts";
import type { SpecSshd } from "./spec.ts";
import { knownHosts, makeSshdKeys, type SshdKeys } from "./sshd_keys.ts";
import type { Work } from "./work.ts";

/** Where it is to run. */
export interface SshdWish {
  readonly sshd: SpecSshd;
  readonly running: ReadonlyMap<string, ContainerFacts>;
  readonly generation: string;
}

const KEPT_BYTES = 65_536;

/** Starts it in every container and checks that each reaches the next; throws a {@linkcode Failure} otherwise. */
export async function haveSshd(
  hosts: Hosts,
  { sshd, running, generation }: SshdWish,
  work: Work,
): Promise<void> {
  const { spec, signal } = work;
  const { port } = sshd;
  const names = [...running.keys()];
  const keys = await findKeys(hosts, { sshd, running, generation }, work) ??
    await makeSshdKeys(spec.hosts, { port, generation, signal });
  const addresses = new Map(spec.hosts.map(({ name, address }) => [name, address]));
  const outcomes = await hosts.each(async (host) => {
    const address = addresses.get(host.name)!;
    const answer = await host.call("sshd", {
      ...targetOf(spec),
      ...{ id: running.get(host.name)!.id, generation, port },
      ...keys,
      // A name may mean 127.0.1.1 on its own host, where nobody else could reach it.
      listenAddresses: /^[0-9.]+$|:/.test(address) ? [address] : [],
    });
    if (answer.kind === "missing") throw missing();
    if (answer.kind === "foreign") throw foreign(port, answer.holder);
  }, { names, keep: true });
  allOrThrow(`start sshd in container "${spec.name}"`, outcomes);

  const next = new Map(
    names.map((name, index) => [name, addresses.get(names[(index + 1) % names.length]!)!]),
  );
  const checks = await hosts.each(async (host) => {
    const address = next.get(host.name)!;
    const argv = ["ssh", "-F", SSHD_CONFIG, address, "cat", SSHD_GENERATION];
    const { code, stdout, stderr } = await runIn(host, running.get(host.name)!.id, argv, work);
    if (code === 0 && stdout.trim() === generation) return;
    const what = code === 0
      ? "another container's sshd answered"
      : escapeForTerminal(stderr.trim().slice(-300));
    throw new Failure("UNAVAILABLE", `no way to ${address} port ${port} from inside: ${what}`, {
      code: "sshd_unreachable",
      hint: "the port must be open between the hosts, and free for this container; --sshd-port names another",
    });
  }, { names, keep: true });
  allOrThrow(`connect the containers of "${spec.name}" by ssh`, checks);
}

/** The keys that containers of this generation have already: those that join them get the same. */
async function findKeys(hosts: Hosts, wish: SshdWish, work: Work): Promise<SshdKeys | undefined> {
  const { sshd: { port }, running } = wish;
  const outcomes = await hosts.each(async (host) => {
    const argv = ["cat", ...SSHD_KEYS];
    const { code, stdout } = await runIn(host, running.get(host.name)!.id, argv, work);
    return code === 0 ? stdout : undefined;
  }, { names: [...running.keys()], keep: true });
  const found = [...valuesOf(outcomes).values()].find((text) => text !== undefined);
  const match = found === undefined
    ? null
    : /^(.*?\n)(ssh-\S+ .*?\n)(-----.*?\n)(ssh-\S+ .*?\n)$/s.exec(found);
  if (match === null) return undefined;
  const [, clientKey, clientPublicKey, hostKey, hostPublicKey] = match as unknown as string[];
  return {
    clientKey: clientKey!,
    clientPublicKey: clientPublicKey!,
    hostKey: hostKey!,
    hostPublicKey: hostPublicKey!,
    knownHosts: knownHosts(work.spec.hosts, port, hostPublicKey!),
  };
}

async function runIn(host: HostLink, id: string, argv: readonly string[], { spec }: Work) {
  const texts = ["", "", ""];
  const decoders = texts.map(() => new TextDecoder());
  const end = await host.call("exec", {
    ...targetOf(spec),
    // Its files are root's, whoever runs in the container otherwise.
    ...{ id, argv, user: "0", env: {}, tty: false, stdin: false, timeoutMs: 30_000, graceMs: 1_000 },
  }, {
    onBytes(channel, bytes) {
      texts[channel] = (texts[channel]! + decoders[channel]!.decode(bytes, { stream: true })).slice(
        -KEPT_BYTES,
      );
    },
  });
  return { code: end.code, stdout: texts[1]!, stderr: texts[2]! };
}

function missing(): Failure {
  return new Failure("UNAVAILABLE", "there is no sshd in the image", {
    code: "no_sshd",
    hint: "the packaged setup script installs openssh-server; a script of your own has to",
  });
}

function foreign(port: number, holder: string): Failure {
  return new Failure("REFUSED", `port ${port} is held by ${escapeForTerminal(holder)}`, {
    code: "sshd_port_taken",
    hint: "end it, or choose another port with --sshd-port",
  });
}
