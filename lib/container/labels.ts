/**
 * Identity as labels of docker and podman: whose a container is is told by these, never by its name alone.
 *
 * @module
 */
import type { IdentityLabels } from "./facts.ts";
import type { CanonicalSpec } from "./spec_hash.ts";
import type { ContainerSpec } from "./spec.ts";

/** The labels' keys. */
export const LABELS: Readonly<Record<keyof IdentityLabels, string>> = {
  owner: "davit.owner",
  name: "davit.name",
  generation: "davit.generation",
  spec: "davit.spec",
  specJson: "davit.spec-json",
  imageDigest: "davit.image-digest",
  provision: "davit.provision",
  lifetime: "davit.lifetime",
  leaseMs: "davit.lease-ms",
};

const FIELDS = Object.keys(LABELS) as (keyof IdentityLabels)[];

/** As a map for the runtimes. */
export function labelsToMap(labels: IdentityLabels): Record<string, string> {
  return Object.fromEntries(FIELDS.map((field) => [LABELS[field], labels[field]]));
}

/** From a container's labels; undefined unless all of ours are there: something else made it. */
export function labelsFromMap(
  map: Readonly<Record<string, string>> | null | undefined,
): IdentityLabels | undefined {
  const entries = FIELDS.map((field) => [field, map?.[LABELS[field]]] as const);
  const isWhole = entries.every(([field, value]) =>
    typeof value === "string" && (value !== "" || field === "specJson" || field === "imageDigest")
  );
  return isWhole ? Object.fromEntries(entries) as unknown as IdentityLabels : undefined;
}

/** The labels of a new container. */
export function makeLabels(
  spec: ContainerSpec,
  canonical: CanonicalSpec,
  identity: Pick<IdentityLabels, "owner" | "generation" | "imageDigest">,
): IdentityLabels {
  return {
    ...identity,
    name: spec.name,
    spec: canonical.hash,
    specJson: canonical.json,
    provision: provisionOf(spec),
    lifetime: spec.lifetime,
    leaseMs: String(spec.leaseMs ?? "none"),
  };
}

/** SHA-256 of the setup script, "packaged" for the packaged one, or "none". */
export function provisionOf({ setup }: ContainerSpec): string {
  return setup?.sha256 ?? "none";
}
