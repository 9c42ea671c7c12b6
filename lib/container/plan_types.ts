/**
 * What a plan is: steps by host, or a refusal that names every reason. Nothing has been touched when there is one.
 *
 * @module
 */
import { type ExitName, Failure } from "../failure.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import type { FieldDifference } from "./diff.ts";
import type { HostFacts, ImageFacts, UnknownWhy } from "./facts.ts";
import type { CanonicalSpec } from "./spec_hash.ts";
import type { ContainerSpec } from "./spec.ts";
import { describeState, hintUnknown, type HostState, stateOf } from "./state.ts";

/** What is to be done on one host. */
export type PlanStep =
  /** Nothing: it runs. */
  | { readonly host: string; readonly do: "attach"; readonly id: string; readonly isOurs: boolean }
  /** `running`: it was started by other hands, and its start script and sshd are still to be run. */
  | {
    readonly host: string;
    readonly do: "start";
    readonly id: string;
    readonly from: "stopped" | "paused" | "running";
  }
  | { readonly host: string; readonly do: "create" }
  /** Remove the one of this id and generation, then create. */
  | { readonly host: string; readonly do: "replace"; readonly id: string; readonly generation: string }
  /** Start it where it does not run, run the setup script again, mark it ready. */
  | {
    readonly host: string;
    readonly do: "provision";
    readonly id: string;
    readonly from: "stopped" | "paused" | "running";
  };

/** A clean plan; `action` is the strongest thing that it does. */
export interface Plan {
  readonly kind: "plan";
  readonly action: "attach" | "start" | "create" | "resume" | "fill" | "replace" | "provision";
  readonly name: string;
  /** Of the containers that are there and stay; undefined = the call makes a new one. */
  readonly generation?: string;
  /** What containers that are made beside others must be made from; for `checkDigests`. */
  readonly wantedImage?: ImageFacts;
  readonly steps: readonly PlanStep[];
  readonly warnings: readonly string[];
  /** Accepted by --ignore-drift, or to be replaced. */
  readonly differences: readonly FieldDifference[];
}

/** Why nothing is done. */
export interface Refusal {
  readonly kind: "refusal";
  readonly exit: ExitName & ("REFUSED" | "UNKNOWN" | "USAGE");
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  /** Every host: its state in words, and its reason to refuse where it has one. */
  readonly hosts: readonly { readonly host: string; readonly state: string; readonly reason?: string }[];
  readonly differences: readonly FieldDifference[];
}

/** One host's answer. */
export interface HostInput {
  readonly host: string;
  readonly facts: HostFacts;
}

/** How far a plan may go. */
export interface PlanOptions {
  /** `run` is up, exec and down of what it made; `attach` joins what runs. */
  readonly command: "up" | "run" | "attach";
  readonly owner: string;
  /** Create where it is absent although others have it. */
  readonly fill?: boolean;
  /** Remove and create anew what would be refused; never what is not ours. */
  readonly replace?: boolean;
  /** Join containers that davit did not make, by their name. */
  readonly adopt?: boolean;
  /** Refuse where something would have to be started. */
  readonly noStart?: boolean;
  /** A container that was made from another spec; `skip` where nothing is known of the spec but its name. */
  readonly drift?: "refuse" | "warn" | "skip";
}

/** What a plan is made from. */
export interface PlanInput {
  readonly spec: ContainerSpec;
  readonly canonical: CanonicalSpec;
  readonly hosts: readonly HostInput[];
  readonly options: PlanOptions;
}

/** One host with its state. */
export interface HostView extends HostInput {
  readonly state: HostState;
}

/** States of all hosts. */
export function viewsOf(hosts: readonly HostInput[], asker: { owner: string; name: string }): HostView[] {
  return hosts.map((input) => ({ ...input, state: stateOf(input.facts, asker) }));
}

const SHOWN_HOSTS = 8;

/** "n1, n2 and 298 more". */
export function hostList(names: readonly string[]): string {
  const more = names.length - SHOWN_HOSTS;
  return more > 1 ? `${names.slice(0, SHOWN_HOSTS).join(", ")} and ${more} more` : names.join(", ");
}

/** Makes a refusal; `reasons` by host. */
export function refusal(
  views: readonly HostView[],
  parts: Pick<Refusal, "code" | "message" | "hint"> & {
    exit?: Refusal["exit"];
    reasons?: ReadonlyMap<string, string>;
    differences?: readonly FieldDifference[];
  },
): Refusal {
  const { exit = "REFUSED", reasons = new Map(), differences = [], ...rest } = parts;
  return {
    kind: "refusal",
    exit,
    ...rest,
    hosts: views.map(({ host, state }) => {
      const reason = reasons.get(host);
      return { host, state: describeState(state), ...reason !== undefined && { reason } };
    }),
    differences,
  };
}

/** A refusal as what main prints and ends with. */
export function refuse({ exit, code, message, hint, differences }: Refusal): Failure {
  const diff = differences.map(({ field, was, is }) => `${field}: ${was ?? "not set"} -> ${is ?? "not set"}`);
  const full = diff.length === 0 ? message : `${message}: ${diff.join("; ")}`;
  return new Failure(exit, escapeForTerminal(full), { code, hint });
}

/** The refusal where nothing is known of some hosts, cause by cause; undefined where all are known. */
export function refuseUnknown(name: string, views: readonly HostView[]): Refusal | undefined {
  const causes = unknownCauses(views);
  if (causes.length === 0) return undefined;
  const count = views.filter(({ state }) => state.kind === "unknown").length;
  const told = causes.map(({ hosts, text, detail }) =>
    `${hostList(hosts)}: ${text}${detail && ` (${detail})`}`
  );
  return refusal(views, {
    exit: "UNKNOWN",
    code: causes.length === 1 ? causes[0]!.why : "unknown",
    message: `Cannot tell the state of container "${name}" on ${count} of ${views.length} hosts: ${
      told.join("; ")
    }; nothing was touched`,
    hint: [...new Set(causes.map(({ why }) => hintUnknown(why)))].join("; "),
    reasons: new Map(
      views.flatMap(({ host, state }) => state.kind === "unknown" ? [[host, state.detail] as const] : []),
    ),
  });
}

const DETAIL_CHARS = 300;

/** Hosts that share one cause. */
export interface UnknownCause {
  readonly why: UnknownWhy;
  readonly hosts: readonly string[];
  readonly text: string;
  /** The words of the first of them. */
  readonly detail: string;
}

/** Hosts of which nothing is known, by cause. */
export function unknownCauses(views: readonly HostView[]): UnknownCause[] {
  const found = views.flatMap(({ host, state }) => state.kind === "unknown" ? [{ host, ...state }] : []);
  return [...Map.groupBy(found, ({ why }) => why)].map(([why, rows]) => ({
    why,
    hosts: rows.map(({ host }) => host),
    text: describeState(rows[0]!),
    detail: rows[0]!.detail.trim().slice(0, DETAIL_CHARS),
  }));
}
