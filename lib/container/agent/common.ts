/**
 * What docker and podman have in common, and the list of what they do not: {@linkcode Runtime}, which
 * runtime_docker.ts and runtime_podman.ts fill in. A third CLI is one more file like these.
 *
 * @module
 */
import type { RuntimeName, SpecRegistry } from "../spec.ts";

/** Why a CLI could do nothing at all; each has its own message and mending. */
export type CliFault = "runtime_missing" | "sudo" | "daemon" | "permission" | "timeout";

/** Differences between the CLIs. */
export interface Runtime {
  readonly name: RuntimeName;
  /** As it is looked up on PATH. */
  readonly program: string;
  /** What its stderr says of a call that could do nothing; undefined: the call itself is what failed. */
  faultOf(stderr: string): Extract<CliFault, "daemon" | "permission"> | undefined;
  /** Whether a user's own store, without root, is what it works on: then the container's processes are ours, too. */
  readonly hasUserStore: boolean;
  /** Words in front of the subcommand for what is in the environment, which sudo drops. */
  wordsForSudo(env: Readonly<Record<string, string>>): readonly string[];
  /** Flags of `rm --force` by which it does not wait for a program that ignores TERM. */
  readonly removeFlags: readonly string[];
  /** Flags of `create` for all NVIDIA GPUs. */
  readonly nvidiaFlags: readonly string[];
  /**
   * Words of a login to `registry` and of the commands after it, whose secrets stay in `directory`: `global` stands
   * in front of the subcommand, `flags` behind it.
   */
  loginWords(directory: string): { readonly global: readonly string[]; readonly flags: readonly string[] };
  /** The server's name as `login` wants it; empty = the default registry. */
  loginServer(registry: SpecRegistry): readonly string[];
}

/** `name` in the form that both accept, and that is no option and no path. */
export const NAME_REGEXP = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
/** A full id: what `inspect` gave, never a prefix. */
export const ID_REGEXP = /^[0-9a-f]{64}$/;
/** A reference or an image id. Both CLIs check it further; here it only must not be an option. */
export const IMAGE_REGEXP = /^[a-zA-Z0-9[][a-zA-Z0-9_.\-/:@[\]]{0,511}$/;

/** `sha256:…` whichever of the two wrote it. */
export function withAlgorithm(id: string): string {
  return id.includes(":") ? id : `sha256:${id}`;
}
