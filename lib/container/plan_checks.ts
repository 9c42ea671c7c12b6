/**
 * What is compared before anything is done: image digests between hosts and with what the tag means now, and the
 * spec of a container with the one that is wanted.
 *
 * @module
 */
import { diffSpecs, type FieldDifference } from "./diff.ts";
import type { ImageFacts } from "./facts.ts";
import { hostList, type HostView, type Refusal } from "./plan_types.ts";
import type { CanonicalSpec } from "./spec_hash.ts";
import type { ContainerSpec } from "./spec.ts";
import type { OwnFacts } from "./state.ts";

/** A host whose container is ours. */
export interface OwnView extends HostView {
  readonly own: OwnFacts;
}

/** Those of the hosts whose container is ours. */
export function ownViews(views: readonly HostView[]): OwnView[] {
  return views.flatMap((view) => {
    const { state } = view;
    return state.kind === "absent" || state.kind === "unknown" || state.kind === "foreign"
      ? []
      : [{ ...view, own: state.container }];
  });
}

/** The image that a container was made from. */
export function imageOf({ labels, imageId }: OwnFacts): ImageFacts {
  return { id: imageId, digest: labels.imageDigest };
}

/** One image has one digest at a registry, or, loaded from an archive, one id. */
export function isSameImage(a: ImageFacts, b: ImageFacts): boolean {
  return (a.digest !== "" && a.digest === b.digest) || (a.id !== "" && a.id === b.id);
}

/** What to call an image by. */
export function nameImage({ digest, id }: ImageFacts): string {
  return digest || id || "unreadable";
}

/** Images by what they are: one group where all hosts have the same. */
export function groupImages(
  images: Iterable<readonly [host: string, image: ImageFacts]>,
): { image: ImageFacts; hosts: string[] }[] {
  const groups: { image: ImageFacts; hosts: string[] }[] = [];
  for (const [host, image] of images) {
    const group = groups.find((known) => isSameImage(known.image, image));
    if (group === undefined) groups.push({ image, hosts: [host] });
    else group.hosts.push(host);
  }
  return groups;
}

/** "n1, n2 have sha256:…; n3 has sha256:…". */
export function describeImages(groups: readonly { image: ImageFacts; hosts: readonly string[] }[]): string {
  return groups.map(({ image, hosts }) =>
    `${hostList(hosts)} ${hosts.length === 1 ? "has" : "have"} ${nameImage(image)}`
  ).join("; ");
}

/**
 * Called when all hosts have the image and before any container is made: the same one everywhere, and `wanted` where
 * others run already.
 */
export function checkDigests(
  name: string,
  images: ReadonlyMap<string, ImageFacts>,
  wanted?: ImageFacts,
): Refusal | undefined {
  const groups = groupImages(images);
  const isUnreadable = [...images.values()].some(({ digest, id }) => digest === "" && id === "");
  const isWanted = wanted === undefined || groups.every(({ image }) => isSameImage(image, wanted));
  if (groups.length === 1 && isWanted && !isUnreadable) return undefined;
  const told = describeImages(groups);
  return {
    kind: "refusal",
    exit: "REFUSED",
    code: "digests_differ",
    message: `Cannot create "${name}": ${
      isWanted
        ? `the image is not the same on all hosts: ${told}`
        : `what is there was made from ${nameImage(wanted)}, but ${told}`
    }`,
    hint: isWanted
      ? "use --pull always, or an image by its digest (IMAGE@sha256:…)"
      : "have the old image on the new hosts (by digest or --image-tar), or make all anew with --replace",
    hosts: [...images].map(([host, image]) => ({ host, state: "absent", reason: nameImage(image) })),
    differences: [],
  };
}

/** Warnings where the tag means another image by now than the one that runs. */
export function movedTags(spec: ContainerSpec, own: readonly OwnView[]): string[] {
  const moved = own.flatMap(({ host, own: container, facts }) => {
    const now = facts.kind === "known" ? facts.image : null;
    const was = imageOf(container);
    return now === null || isSameImage(now, was) ? [] : [{ host, was: nameImage(was), now: nameImage(now) }];
  });
  return [...Map.groupBy(moved, ({ was, now }) => `${was} ${now}`).values()].map((rows) =>
    `${spec.image} is ${rows[0]!.now} by now on ${
      hostList(rows.map(({ host }) => host))
    }, the container runs ${rows[0]!.was}`
  );
}

/** What differs between the spec and what the containers were made from; of all hosts, each field once. */
export function driftOf(own: readonly OwnView[], canonical: CanonicalSpec): FieldDifference[] {
  const found = new Map<string, FieldDifference>();
  const seen = new Set<string>();
  for (const { own: { labels } } of own) {
    if (labels.spec === canonical.hash || seen.has(labels.spec)) continue;
    seen.add(labels.spec);
    const differences = diffSpecs(labels.specJson, canonical.json);
    // The hashes differ, so something does, whatever the texts say.
    const told = differences.length > 0
      ? differences
      : [{ field: "spec", was: labels.spec, is: canonical.hash }];
    for (const difference of told) found.set(JSON.stringify(difference), difference);
  }
  return [...found.values()];
}
