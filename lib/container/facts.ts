/**
 * What a host says of its container. Facts only: what they mean is decided in state.ts and plan.ts.
 *
 * @module
 */

/** Labels that davit puts on what it creates; all texts, as labels are. The keys begin with `davit.`. */
export interface IdentityLabels {
  /** Whose it is: the user that ran davit, never only "root" under sudo. */
  readonly owner: string;
  readonly name: string;
  /** Random, one per creating call: all hosts of one `up` share it. */
  readonly generation: string;
  /** SHA-256 of the canonical spec, hex; spec_hash.ts. */
  readonly spec: string;
  /** The canonical spec itself as JSON, for a diff field by field; no secret is in it. */
  readonly specJson: string;
  readonly imageDigest: string;
  /** SHA-256 of the setup script, "packaged" for the packaged one, or "none". */
  readonly provision: string;
  readonly lifetime: string;
  /** Milliseconds, or "none". */
  readonly leaseMs: string;
}

/** Written into the container when creation and provisioning are done: it lives and dies with the overlay. */
export interface ReadyMark {
  readonly generation: string;
  readonly provision: string;
  readonly readyAt: string;
  /** The container's `startedAt` for which every-start script and sshd were done: after a reboot it is another. */
  readonly startedAt: string;
}

/** One container as `inspect` has it. */
export interface ContainerFacts {
  /** Full id. */
  readonly id: string;
  readonly status: "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead";
  readonly exitCode: number;
  readonly createdAt: string;
  readonly startedAt: string;
  /** Undefined: not made by davit. */
  readonly labels?: IdentityLabels;
  /** Local id of the image it was made from, `sha256:…`. */
  readonly imageId: string;
  readonly ready?: ReadyMark;
  /** Execs by davit that run in it, by the shared lock's holders. */
  readonly execs: number;
  /** ISO time of its last use by davit, for leases. */
  readonly lastUsedAt?: string;
}

/** The image that the spec names, as it is on the host now. */
export interface ImageFacts {
  readonly id: string;
  /** `sha256:…` of the registry's manifest where the runtime knows it, else the id: equal on equal hosts. */
  readonly digest: string;
}

/** Why nothing is known of a host; each has its own message and mending. */
export type UnknownWhy =
  | "unreachable"
  | "login_refused"
  | "sudo"
  | "runtime_missing"
  | "daemon"
  | "permission"
  | "timeout"
  | "agent"
  | "protocol";

/** The answer of one host; `null` container = there is none of that name. */
export type HostFacts =
  | { readonly kind: "known"; readonly container: ContainerFacts | null; readonly image: ImageFacts | null }
  | { readonly kind: "unknown"; readonly why: UnknownWhy; readonly detail: string };
