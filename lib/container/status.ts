/**
 * `status`: what is on each host, as a table and as JSON, and whether all is as it should be.
 *
 * @module
 */
import { EXIT } from "../failure.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import { formatDuration } from "../units.ts";
import type { ContainerFacts, HostFacts } from "./facts.ts";
import type { ContainerSpec } from "./spec.ts";
import { stateOf } from "./state.ts";

/** One host's line. */
export interface StatusHost {
  readonly host: string;
  readonly state: string;
  readonly id?: string;
  readonly owner?: string;
  readonly generation?: string;
  readonly imageDigest?: string;
  readonly isReady?: boolean;
  /** Undefined: only a name was given, there is nothing to compare with. */
  readonly isSpecEqual?: boolean;
  readonly startedAt?: string;
  readonly uptimeMs?: number;
  readonly execs?: number;
  readonly lastUsedAt?: string;
  /** Milliseconds until `gc` may take it; negative when that time has come. */
  readonly leaseLeftMs?: number;
  /** Why the host is unknown. */
  readonly why?: string;
  readonly detail?: string;
}

/** What is known of all hosts; `specHash` is undefined where only a name was given. */
export function statusOf(
  { name }: ContainerSpec,
  facts: ReadonlyMap<string, HostFacts>,
  { specHash, owner, nowMs }: { specHash: string | undefined; owner: string; nowMs: number },
): StatusHost[] {
  return [...facts].map(([host, known]) => {
    const { kind: state } = stateOf(known, { name, owner });
    if (known.kind === "unknown") return { host, state, why: known.why, detail: known.detail };
    const { container } = known;
    return container === null ? { host, state } : { host, state, ...detailsOf(container, specHash, nowMs) };
  });
}

function detailsOf(container: ContainerFacts, specHash: string | undefined, nowMs: number) {
  const { id, labels, ready, startedAt, execs, lastUsedAt, status, imageId } = container;
  const leaseMs = Number(labels?.leaseMs);
  const used = Date.parse(lastUsedAt ?? container.createdAt);
  return {
    id,
    ...labels !== undefined && { owner: labels.owner, generation: labels.generation },
    imageDigest: labels?.imageDigest ?? imageId,
    isReady: ready !== undefined,
    ...specHash !== undefined && labels !== undefined && { isSpecEqual: labels.spec === specHash },
    startedAt,
    ...status === "running" && { uptimeMs: nowMs - Date.parse(startedAt) },
    execs,
    ...lastUsedAt !== undefined && { lastUsedAt },
    ...leaseMs > 0 && { leaseLeftMs: used + leaseMs - nowMs },
  };
}

/** 0: all run, are ready, of one generation and image, and as the spec says. 4: a host is unknown. 3: else. */
export function statusExit(hosts: readonly StatusHost[]): number {
  if (hosts.some(({ state }) => state === "unknown")) return EXIT.UNKNOWN;
  const [first] = hosts;
  const isGood = hosts.every((host) =>
    host.state === "running" && host.isSpecEqual !== false && host.generation === first!.generation &&
    host.imageDigest === first!.imageDigest
  );
  return isGood ? 0 : EXIT.REFUSED;
}

/** The table for people. */
export function renderStatus(hosts: readonly StatusHost[]): string {
  const rows = [
    ["HOST", "STATE", "ID", "GENERATION", "IMAGE", "SPEC", "UP", "EXECS", "LEASE"],
    ...hosts.map((host) => {
      if (host.why !== undefined) return [host.host, `${host.state}: ${host.why}`, host.detail ?? ""];
      return [
        host.host,
        host.state,
        short(host.id),
        host.generation?.slice(0, 8) ?? "-",
        short(host.imageDigest),
        host.isSpecEqual === undefined ? "-" : host.isSpecEqual ? "same" : "differs",
        host.uptimeMs === undefined ? "-" : formatDuration(Math.max(0, host.uptimeMs)),
        String(host.execs ?? "-"),
        leaseText(host.leaseLeftMs),
      ];
    }),
  ].map((row) => row.map((cell) => escapeForTerminal(cell)));
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.filter((row) => row.length > column + 1).map((row) => row[column]!.length), 0)
  );
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd())
    .join("\n");
}

function short(id: string | undefined): string {
  return id?.replace(/^sha256:/, "").slice(0, 12) || "-";
}

function leaseText(leftMs: number | undefined): string {
  if (leftMs === undefined) return "-";
  return leftMs > 0 ? formatDuration(leftMs) : "expired";
}
