/**
 * Opens connections to hosts, one a host, by the way that the spec names.
 *
 * @module
 */
import type { Log } from "../log.ts";
import { connectHost } from "./connect_host.ts";
import { localPeer } from "./local.ts";
import { type Agent, portableToPush } from "./push.ts";
import type { Connector, Peer, Serving } from "./rpc.ts";
import { type SlurmOptions, slurmStart } from "./slurm.ts";
import { type FarProgram, type SshOptions, sshStart } from "./ssh.ts";

/** How hosts are reached. */
export type ConnectorOptions =
  | { readonly kind: "local"; readonly open: () => Serving }
  | { readonly kind: "ssh"; readonly agent: Agent } & SshOptions
  | { readonly kind: "slurm"; readonly agent: Agent; readonly log: Log } & SlurmOptions;

type ConnectOptions = Parameters<Connector["connect"]>[1];
type Connect = (host: string, options: ConnectOptions) => Promise<Peer>;

/** Rejects where davit could not come to any host: `no_agent_file`, `no_job`. */
export async function openConnector(options: ConnectorOptions): Promise<Connector> {
  if (options.kind === "local") return pooled((host) => localPeer(options.open(), host));
  const { agent, log } = options;
  const program: FarProgram = agent.kind === "command"
    ? agent
    : { kind: "push", portable: await portableToPush(agent.file) };
  const start = options.kind === "ssh" ? sshStart(options) : slurmStart(options);
  return pooled((host, connectOptions) => connectHost(host, { start, program, log, ...connectOptions }));
}

/** One connection a host; one that has ended is opened anew. */
function pooled(connect: Connect): Connector {
  const peers = new Map<string, Promise<Peer>>();
  return {
    connect(host, options) {
      const known = peers.get(host);
      if (known !== undefined) return known;
      const opening = connect(host, options);
      peers.set(host, opening);
      const forget = () => {
        if (peers.get(host) === opening) peers.delete(host);
      };
      opening.then((peer) => peer.closed.then(forget), forget);
      return opening;
    },
    async [Symbol.asyncDispose]() {
      const open = await Promise.allSettled(peers.values());
      await Promise.all(open.map((peer) => peer.status === "fulfilled" ? peer.value.close() : undefined));
    },
  };
}
