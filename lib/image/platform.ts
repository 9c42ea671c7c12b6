/**
 * Operating system and processor of an image: how people write them, and which entry of an index fits. Names are
 * Go's (GOOS, GOARCH), variants as in the OCI image index v1.1, "platform"; `uname -m` names are read too, since
 * enroot's --arch wants those.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";
import type { Descriptor, Platform } from "./types.ts";

/** One image of an index. */
export interface IndexEntry extends Descriptor {
  /** Absent when the index does not say. */
  readonly platform?: Platform | undefined;
}

const ALIASES = new Map([
  ["x86_64", "amd64"],
  ["x86-64", "amd64"],
  ["aarch64", "arm64"],
  ["i386", "386"],
  ["i686", "386"],
  ["armv7l", "arm/v7"],
  ["armv6l", "arm/v6"],
]);
/** What an architecture without a variant means. */
const DEFAULT_VARIANTS: Record<string, string> = { amd64: "v1", arm64: "v8", arm: "v7" };

/** Reads "linux/arm64/v8", "arm64" or "aarch64"; throws a Failure on anything else. */
export function parsePlatform(text: string): Platform {
  const [first = "", ...rest] = text.toLowerCase().split("/");
  const isBare = rest.length === 0 || (first !== "linux" && rest.length === 1 && /^v\d+$/.test(rest[0]!));
  const [os, name, ...more] = isBare ? ["linux", first, ...rest] : [first, ...rest];
  const [architecture, variant, ...beyond] = [...(ALIASES.get(name ?? "") ?? name ?? "").split("/"), ...more];
  const words = [architecture ?? "", variant ?? "x"];
  if (os !== "linux" || beyond.length > 0 || !words.every((word) => /^[a-z0-9]{1,20}$/.test(word))) {
    throw new Failure("USAGE", `Cannot read the platform "${escapeControls(text.slice(0, 80))}"`, {
      code: "bad_platform",
      hint: "expected linux/ARCH or linux/ARCH/VARIANT, such as linux/amd64, linux/arm/v6 or aarch64",
    });
  }
  // One name for one thing: it is compared with what a sidecar says.
  const isUsual = variant === DEFAULT_VARIANTS[architecture!];
  return { os, architecture: architecture!, ...(variant && !isUsual && { variant }) };
}

/** The platform of this machine. */
export function hostPlatform(arch: string = Deno.build.arch): Platform {
  return { os: "linux", architecture: ALIASES.get(arch) ?? arch };
}

/** "linux/arm64/v8". */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return escapeControls([os, architecture, ...variant ? [variant] : []].join("/"));
}

/** Whether an image for `offered` is one for `wanted`; a missing variant means the architecture's usual one. */
export function platformFits(offered: Platform, wanted: Platform): boolean {
  return offered.os === wanted.os && offered.architecture === wanted.architecture &&
    (variantOf(offered) === variantOf(wanted) || !offered.variant);
}

function variantOf({ architecture, variant }: Platform): string | undefined {
  return variant || DEFAULT_VARIANTS[architecture];
}

/**
 * The entry of an index that fits `wanted`: the exact variant, else the one without; a single entry that does not
 * say what it is for is given a chance. Throws a Failure that lists what there is. `name` is for the message.
 */
export function chooseEntry(entries: readonly IndexEntry[], wanted: Platform, name: string): IndexEntry {
  // Attestations sit in an index as images for unknown/unknown.
  const images = entries.filter(({ platform }) => platform?.os !== "unknown");
  const fitting = images.filter(({ platform }) => platform && platformFits(platform, wanted));
  const exact = fitting.find(({ platform }) => variantOf(platform!) === variantOf(wanted));
  const unnamed = images.filter(({ platform }) => !platform);
  const chosen = exact ?? fitting[0] ?? (unnamed.length === 1 ? unnamed[0] : undefined);
  if (chosen) return chosen;
  const offers = [...new Set(images.map(({ platform }) => platform ? formatPlatform(platform) : "unnamed"))];
  throw wrongArchitecture(name, wanted, offers.slice(0, 40).join(", ") || "no image");
}

/** The failure for an image that this platform cannot run; `offers` says what there is. */
export function wrongArchitecture(name: string, wanted: Platform, offers: string): Failure {
  return new Failure(
    "DATAERR",
    `Cannot use image "${escapeControls(name)}": it offers ${offers}, wanted ${formatPlatform(wanted)}`,
    { code: "wrong_architecture", hint: "--platform OS/ARCH asks for another machine's image" },
  );
}
