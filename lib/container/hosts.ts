/**
 * The hosts of one command: a connection to each, so many at once, and typed calls over them. A host that fails or
 * is silent is an outcome of its own and says nothing of another's.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { CallOptions, Connector, Peer } from "../host/fan_out/rpc.ts";
import type { HostMethod, HostMethods } from "./host_methods.ts";

/** What became of the work on one host. */
export type Outcome<T> =
  | { readonly isDone: true; readonly value: T }
  | { readonly isDone: false; readonly error: unknown };

/** How hosts are worked on. */
export interface HostsOptions {
  readonly connector: Connector;
  /** Unique; results come in this order. */
  readonly names: readonly string[];
  /** Hosts that are worked on at once. */
  readonly parallel: number;
  /** For connecting and for each call that has no bound of its own. */
  readonly hostTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Of davit: both ends have to be of the same. */
  readonly version: string;
}

/** How one round goes over the hosts. */
export interface RoundOptions {
  /** Some of them; all by default. */
  readonly names?: readonly string[];
  /** Leaves connections open for the next round; by default where all hosts may be worked on at once. */
  readonly keep?: boolean;
  /** Other than {@linkcode HostsOptions.parallel}. */
  readonly parallel?: number;
  /** Instead of the one of all hosts, as for tidying up after that was aborted. */
  readonly signal?: AbortSignal;
}

/** One host, connected. */
export interface HostLink {
  readonly name: string;
  /** Aborted when the round is. */
  readonly signal: AbortSignal;
  /** Calls a method; `timeoutMs: Infinity` takes the bound away, none means that of all hosts. */
  call<M extends HostMethod>(
    method: M,
    params: HostMethods[M]["params"],
    options?: Omit<CallOptions, "signal">,
  ): Promise<HostMethods[M]["result"]>;
}

/** See the module's description. Disposing it closes all connections, and with them the locks. */
export class Hosts implements AsyncDisposable {
  readonly names: readonly string[];
  readonly #options: HostsOptions;
  readonly #peers = new Map<string, Promise<Peer>>();

  constructor(options: HostsOptions) {
    this.#options = options;
    this.names = options.names;
  }

  /** Whether all hosts fit into one round, and so keep their connections. */
  get fitAtOnce(): boolean {
    return this.names.length <= this.#options.parallel;
  }

  /** Does `work` on the hosts, so many at once; never rejects for a host. Outcomes are in the order of `names`. */
  async each<T>(
    work: (host: HostLink) => Promise<T>,
    round: RoundOptions = {},
  ): Promise<Map<string, Outcome<T>>> {
    const { names = this.names, keep = this.fitAtOnce, signal = this.#options.signal } = round;
    const { parallel = this.#options.parallel } = round;
    const outcomes = new Map<string, Outcome<T>>(
      names.map((name) => [name, { isDone: false, error: undefined }]),
    );
    const left = [...names];
    const workOff = async () => {
      for (let name = left.shift(); name !== undefined; name = left.shift()) {
        outcomes.set(name, await this.#outcome(name, work, signal, keep));
      }
    };
    await Promise.all(Array.from({ length: Math.min(parallel, names.length) }, workOff));
    return outcomes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.names.map((name) => this.#close(name)));
    await this.#options.connector[Symbol.asyncDispose]();
  }

  async #outcome<T>(
    name: string,
    work: (host: HostLink) => Promise<T>,
    signal: AbortSignal,
    keep: boolean,
  ): Promise<Outcome<T>> {
    try {
      signal.throwIfAborted();
      const peer = await this.#peer(name, signal);
      return { isDone: true, value: await work(this.#link(name, peer, signal)) };
    } catch (error) {
      return { isDone: false, error };
    } finally {
      if (!keep) await this.#close(name);
    }
  }

  #link(name: string, peer: Peer, signal: AbortSignal): HostLink {
    const { hostTimeoutMs } = this.#options;
    return {
      name,
      signal,
      async call<M extends HostMethod>(
        method: M,
        params: HostMethods[M]["params"],
        { timeoutMs = hostTimeoutMs, ...rest }: Omit<CallOptions, "signal"> = {},
      ) {
        const bound = timeoutMs === Infinity ? {} : { timeoutMs };
        return await peer.call(method, params, { ...rest, ...bound, signal }) as HostMethods[M]["result"];
      },
    };
  }

  /** A connection that has broken stays: its lock is gone with it, so nothing may go on over another one. */
  #peer(name: string, signal: AbortSignal): Promise<Peer> {
    const known = this.#peers.get(name);
    if (known !== undefined) return known;
    const opening = this.#connect(name, signal);
    this.#peers.set(name, opening);
    opening.catch(() => this.#peers.delete(name)); // whoever awaits it is told; the next round tries again
    return opening;
  }

  async #connect(name: string, signal: AbortSignal): Promise<Peer> {
    const { connector, hostTimeoutMs, version } = this.#options;
    const deadline = performance.now() + hostTimeoutMs;
    const peer = await connector.connect(name, { signal, timeoutMs: hostTimeoutMs });
    try {
      const timeoutMs = Math.max(1, deadline - performance.now());
      const answer = await peer.call("hello", { version }, { signal, timeoutMs }) as { version: string };
      if (answer.version === version) return peer;
      throw new Failure(
        "PROTOCOL",
        `Cannot use davit on "${name}": it is version ${answer.version}, wanted ${version}`,
        { code: "protocol", hint: "without --agent the right one is pushed to the host" },
      );
    } catch (error) {
      await peer.close();
      throw error;
    }
  }

  async #close(name: string): Promise<void> {
    const opening = this.#peers.get(name);
    this.#peers.delete(name);
    const peer = await opening?.catch(() => undefined); // it was never open
    await peer?.close();
  }
}
