/**
 * What a container is to be: the canonical form of a spec, whichever file or flags it came from. Everything is
 * resolved: paths are absolute, durations milliseconds, sizes bytes, defaults filled in.
 *
 * @module
 */

/** `no_launch` joins what runs, `per_run` lives as long as one `run`, `persistent` outlives the command. */
export type Lifetime = "no_launch" | "per_run" | "persistent";
/** The CLI that is driven. */
export type RuntimeName = "docker" | "podman";
/** How hosts are reached. */
export type FanOutKind = "local" | "ssh" | "slurm";
/** Whether the runtime's CLI is called through `sudo -n`; `auto` asks on each host by itself. */
export type SudoMode = "auto" | "never" | "always";

/** One host. */
export interface SpecHost {
  /** As ssh or Slurm know it; unique. */
  readonly name: string;
  /** Where the other hosts reach it; CVS's `vpc_ip`. The name, where none is given. */
  readonly address: string;
}

/** How to reach the hosts. */
export interface SpecFanOut {
  readonly kind: FanOutKind;
  /** ssh: the login; undefined leaves it to ssh's own configuration, as all below. */
  readonly user?: string;
  readonly keyFile?: string;
  /** Further words for ssh or srun, such as `-J jump` or `--jobid=17`. */
  readonly options: readonly string[];
}

/** A script of ours that runs in the container. */
export interface SpecScript {
  /** Where it was read: absolute, or "packaged default". */
  readonly path: string;
  readonly text: string;
  /** Of its bytes, hex; "packaged" for the packaged one: that another davit words it otherwise is no drift. */
  readonly sha256: string;
}

/** Logs in to a registry; the password never leaves the host that has the file. */
export interface SpecRegistry {
  readonly server: string;
  readonly username: string;
  /** On each host. */
  readonly passwordFile: string;
}

/** sshd in the container, for MPI between hosts. */
export interface SpecSshd {
  readonly port: number;
}

/** See the module's description. Keys that change what is created are in the spec hash; spec_hash.ts lists them. */
export interface ContainerSpec {
  readonly name: string;
  readonly lifetime: Lifetime;
  readonly image: string;
  /** A `docker save` archive on each host, loaded when the image is missing. */
  readonly imageTar?: string;
  readonly pull: "missing" | "always" | "never";
  readonly registry?: SpecRegistry;
  readonly hosts: readonly SpecHost[];
  readonly fanOut: SpecFanOut;
  readonly runtime: RuntimeName;
  readonly sudo: SudoMode;

  readonly env: Readonly<Record<string, string>>;
  /** Files on each host with NAME=VALUE lines, for what is not to stand in a spec. */
  readonly envFiles: readonly string[];
  /** SOURCE:TARGET[:OPTIONS]. */
  readonly volumes: readonly string[];
  /** A leading `-` makes one optional; globs are resolved on each host. */
  readonly devices: readonly string[];
  readonly gpus: "amd" | "nvidia" | "none" | "auto";
  readonly capAdd: readonly string[];
  readonly securityOpt: readonly string[];
  readonly groupAdd: readonly string[];
  /** NAME=SOFT[:HARD]. */
  readonly ulimits: readonly string[];
  readonly network?: string;
  readonly ipc?: string;
  readonly pid?: string;
  readonly hostname?: string;
  readonly privileged: boolean;
  readonly shmSizeBytes?: number;
  /** An init as PID 1, which reaps. */
  readonly init: boolean;
  readonly entrypoint?: readonly string[];
  /** What keeps the container alive; `sleep infinity` by default, with the image's entrypoint out of the way. */
  readonly command: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly restart?: string;

  /** Once after creation. */
  readonly setup?: SpecScript;
  /** After each start. */
  readonly everyStart?: SpecScript;
  readonly sshd?: SpecSshd;
  readonly startTimeoutMs: number;
  /** How long after its last use `gc` may take it; undefined = never. */
  readonly leaseMs?: number;
}
