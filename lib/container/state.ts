/**
 * What the facts of one host mean: the state of the container there, for whoever asks.
 *
 * @module
 */
import type { ContainerFacts, HostFacts, IdentityLabels, UnknownWhy } from "./facts.ts";

/** A container that davit made for this owner under this name. */
export interface OwnFacts extends ContainerFacts {
  readonly labels: IdentityLabels;
}

/**
 * `foreign`: made by something else, or for somebody else. `unready`: made, but never provisioned to the end.
 * `dead`: the runtime itself can do nothing with it as it is (dead, being removed, restarting in vain).
 */
export type HostState =
  | { readonly kind: "absent" }
  | { readonly kind: "foreign"; readonly container: ContainerFacts; readonly owner: string | undefined }
  | { readonly kind: "unready" | "running" | "stopped" | "paused" | "dead"; readonly container: OwnFacts }
  | { readonly kind: "unknown"; readonly why: UnknownWhy; readonly detail: string };

/** Who asks, and for which name. */
export interface Asker {
  readonly owner: string;
  readonly name: string;
}

/** Classifies the facts of one host. */
export function stateOf(facts: HostFacts, { owner, name }: Asker): HostState {
  if (facts.kind === "unknown") return facts;
  const { container } = facts;
  if (container === null) return { kind: "absent" };
  const { labels } = container;
  // Renamed: its own davit would not find it, so it is not taken for another.
  if (labels === undefined || labels.name !== name) return { kind: "foreign", container, owner: undefined };
  if (labels.owner !== owner) return { kind: "foreign", container, owner: labels.owner };
  const own: OwnFacts = { ...container, labels };
  if (["dead", "removing", "restarting"].includes(container.status)) return { kind: "dead", container: own };
  // The mark of another generation came with the image, by `docker commit`.
  if (container.ready?.generation !== labels.generation) return { kind: "unready", container: own };
  if (container.status === "running") return { kind: "running", container: own };
  return { kind: container.status === "paused" ? "paused" : "stopped", container: own };
}

/** The state in a few words: "running", "stopped (exit 137)", "belongs to ann". */
export function describeState(state: HostState): string {
  switch (state.kind) {
    case "absent":
      return "absent";
    case "unknown":
      return describeUnknown(state.why);
    case "foreign":
      return state.owner === undefined
        ? `${state.container.status}, not made by davit`
        : `${state.container.status}, made by davit for ${state.owner}`;
    case "stopped":
      return state.container.status === "created"
        ? "created, never started"
        : `stopped (exit ${state.container.exitCode})`;
    case "dead":
      return state.container.status;
    case "unready":
      return `${state.container.status}, not provisioned to the end`;
    case "running":
    case "paused":
      return state.kind;
  }
}

const UNKNOWN: Readonly<Record<UnknownWhy, readonly [text: string, hint: string]>> = {
  unreachable: ["cannot be reached", "is it up? `ssh HOST true` shows more"],
  login_refused: ["refuses the login", "check the login, the key and known_hosts with `ssh HOST true`"],
  sudo: ["sudo refuses without a password", "allow it for the runtime's CLI, or use --sudo never"],
  runtime_missing: ["has no such runtime", "install it there, or use --runtime"],
  daemon: ["the runtime's daemon does not answer", "start it there: systemctl start docker"],
  permission: ["may not use the runtime", "add the login to the group docker, or use --sudo always"],
  timeout: ["does not answer in time", "look at that host; --host-timeout gives it longer"],
  agent: ["davit cannot be started there", "see its words; --agent names a davit that is there already"],
  protocol: ["davit there does not understand this one", "use one version; --agent names another"],
};

/** Why nothing is known of a host, in a few words that are different for each reason. */
export function describeUnknown(why: UnknownWhy): string {
  return UNKNOWN[why][0];
}

/** How that is mended. */
export function hintUnknown(why: UnknownWhy): string {
  return UNKNOWN[why][1];
}
