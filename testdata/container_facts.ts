/**
 * Specs and facts for tests of what is decided from them.
 *
 * @module
 */
import type { ContainerFacts, HostFacts, IdentityLabels, ImageFacts } from "../lib/container/facts.ts";
import { makeLabels } from "../lib/container/labels.ts";
import type { HostInput } from "../lib/container/plan_types.ts";
import { canonicalSpec } from "../lib/container/spec_hash.ts";
import { readSpecText } from "../lib/container/spec_load.ts";
import type { ContainerSpec } from "../lib/container/spec.ts";

/** Who owns what tests make. */
export const OWNER = "ann";
/** Of one `up`. */
export const GENERATION = "g1";
/** Two images: their digests and ids. */
export const IMAGES: readonly [ImageFacts, ImageFacts] = [
  { id: "sha256:id-one", digest: "sha256:digest-one" },
  { id: "sha256:id-two", digest: "sha256:digest-two" },
];

/** A spec from YAML; named `box`, persistent and with an image unless the text says otherwise. */
export async function makeSpec(text = ""): Promise<ContainerSpec> {
  const base = [["name", "box"], ["lifetime", "persistent"], ["image", "x:1"]]
    .filter(([key]) => !new RegExp(`^${key}:`, "m").test(text)).map((pair) => pair.join(": "));
  const options = { path: "/s.yaml", needs: "create", user: OWNER, home: "/", cwd: "/" } as const;
  return (await readSpecText([...base, text].join("\n"), options)).spec;
}

/** What {@linkcode makeFacts} can vary. */
export interface FactsParts extends Partial<Omit<ContainerFacts, "labels" | "ready">> {
  labels?: Partial<IdentityLabels> | "none";
  /** `restarted`: the mark is of an earlier start. */
  ready?: boolean | "restarted" | "of another generation";
  /** What the tag is now on the host. */
  image?: { id: string; digest: string } | null;
}

/** Facts of a host that has a container made from `spec`: running, ready, of image one. */
export async function makeFacts(spec: ContainerSpec, parts: FactsParts = {}): Promise<HostFacts> {
  const { labels: changes = {}, ready = true, image = IMAGES[0], ...rest } = parts;
  const labels = makeLabels(spec, await canonicalSpec(spec), {
    owner: OWNER,
    generation: GENERATION,
    imageDigest: IMAGES[0].digest,
  });
  const own = changes === "none" ? undefined : { ...labels, ...changes };
  const startedAt = "2026-01-02T00:00:00Z";
  const mark = {
    generation: ready === "of another generation" ? "g0" : own?.generation ?? GENERATION,
    provision: labels.provision,
    readyAt: startedAt,
    startedAt: ready === "restarted" ? "2026-01-01T00:00:00Z" : startedAt,
  };
  return {
    kind: "known",
    image,
    container: {
      id: "c".repeat(64),
      status: "running",
      exitCode: 0,
      createdAt: startedAt,
      startedAt,
      imageId: IMAGES[0].id,
      execs: 0,
      ...own !== undefined && { labels: own },
      ...ready !== false && { ready: mark },
      ...rest,
    },
  };
}

/** Facts of a host that has none. */
export function absentFacts(image: { id: string; digest: string } | null = IMAGES[0]): HostFacts {
  return { kind: "known", container: null, image };
}

/** Hosts n1, n2, … with these facts. */
export function hostsOf(facts: readonly HostFacts[]): HostInput[] {
  return facts.map((of, index) => ({ host: `n${index + 1}`, facts: of }));
}
