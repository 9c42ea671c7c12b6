/**
 * What a host can be asked for: the methods of `container agent`, with their parameters and results. The same
 * handlers run in this process where the host is this machine. Nothing here is a shell line: argv arrays only.
 *
 * @module
 */
import type { ContainerFacts, HostFacts, IdentityLabels, ImageFacts, ReadyMark } from "./facts.ts";
import type { ContainerSpec, RuntimeName, SpecRegistry, SudoMode } from "./spec.ts";

/** Which runtime, how, and which container. */
export interface Target {
  readonly runtime: RuntimeName;
  readonly sudo: SudoMode;
  readonly name: string;
}

/** The lock's holder, as those who wait are told. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  readonly user: string;
  /** ISO time. */
  readonly since: string;
  readonly what: string;
}

/** How a program in the container ended. `timedOut`: it was ended inside the container, too. */
export interface ExecEnd {
  readonly code: number;
  readonly signal: string | null;
  readonly timedOut: boolean;
}

/** Progress of a pull or load; told as a message, and as a line with the runtime's own words. */
export interface PullProgress {
  readonly kind: "pull";
  readonly line: string;
}

/** Method by method: parameters and result. */
export interface HostMethods {
  /** First call on each connection; refuses another version of the protocol. */
  hello: {
    params: { readonly version: string };
    result: { readonly version: string; readonly hostname: string };
  };
  /** One round trip. Never rejects for what it cannot know: that is a fact, too. */
  facts: { params: Target & { readonly image?: string }; result: HostFacts };
  /** All containers with davit's labels of this owner (all owners: undefined). */
  list: {
    params: Omit<Target, "name"> & { readonly owner?: string };
    result: { readonly containers: readonly (ContainerFacts & { readonly name: string })[] };
  };
  /**
   * Takes the lock of a container for as long as the connection lives or until `unlock`. `busy` after `waitMs`,
   * with the holder.
   */
  lock: {
    params: {
      readonly name: string;
      readonly mode: "exclusive" | "shared";
      readonly waitMs: number;
      readonly holder: Omit<LockHolder, "pid" | "host">;
    };
    result: { readonly kind: "held" } | { readonly kind: "busy"; readonly holder: LockHolder | null };
  };
  unlock: { params: { readonly name: string }; result: null };
  /** Has the image on the host: pulls, loads or finds it; progress as messages. */
  image: {
    params: Target & {
      readonly image: string;
      readonly imageTar?: string;
      readonly pull: ContainerSpec["pull"];
      readonly registry?: SpecRegistry;
    };
    result: ImageFacts;
  };
  /** Creates, does not start. Removes nothing, ever: a name that is taken is a Failure (`name_taken`). */
  create: {
    params: Target & {
      readonly spec: ContainerSpec;
      readonly labels: IdentityLabels;
      readonly image: ImageFacts;
    };
    result: { readonly id: string };
  };
  /** Starts or unpauses it and waits until it runs and stays so; else a Failure with the end of its log. */
  start: { params: Target & { readonly id: string; readonly timeoutMs: number }; result: ContainerFacts };
  stop: { params: Target & { readonly id: string; readonly graceMs: number }; result: null };
  /** By id, and only if its labels still say what is expected here; absent already is fine. */
  remove: {
    params: Target & { readonly id: string; readonly generation: string };
    result: { readonly removed: boolean };
  };
  /** Copies the script in and runs it there, stdin /dev/null, by its shebang; output as channels 1 and 2. */
  script: {
    params: Target & {
      readonly id: string;
      readonly text: string;
      readonly label: string;
      readonly timeoutMs: number;
      readonly env: Readonly<Record<string, string>>;
    };
    result: ExecEnd;
  };
  markReady: { params: Target & { readonly id: string; readonly mark: ReadyMark }; result: null };
  /** sshd in the container; see agent/sshd.ts. Idempotent. `foreign` names who holds the port. */
  sshd: {
    params: Target & {
      readonly id: string;
      readonly generation: string;
      readonly port: number;
      /** OpenSSH formats, made for this generation by `up`; the private key never leaves the containers. */
      readonly clientKey: string;
      readonly clientPublicKey: string;
      readonly hostKey: string;
      readonly hostPublicKey: string;
      readonly knownHosts: string;
      readonly listenAddresses: readonly string[];
    };
    result:
      | { readonly kind: "started" | "running" }
      | { readonly kind: "foreign"; readonly holder: string }
      | { readonly kind: "missing" };
  };
  /** Runs argv in it, output as channels 1 and 2; messages `{ signal }` and `{ columns, rows }` go in. */
  exec: {
    params: Target & {
      readonly id: string;
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly workdir?: string;
      readonly user?: string;
      readonly tty: boolean;
      readonly stdin: boolean;
      readonly timeoutMs?: number;
      /** Ends what is in the container: TERM, then KILL after so long. */
      readonly graceMs: number;
    };
    result: ExecEnd;
  };
  /** A tar stream out of or into it, as `docker cp` has it: channel 1 out, input in. */
  copyOut: { params: Target & { readonly id: string; readonly path: string }; result: null };
  copyIn: { params: Target & { readonly id: string; readonly directory: string }; result: null };
  logs: {
    params: Target & { readonly id: string; readonly tail?: number; readonly follow: boolean };
    result: null;
  };
}

/** A method's name. */
export type HostMethod = keyof HostMethods;
