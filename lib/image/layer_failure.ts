/**
 * What can be wrong with a layer: damaged bytes, which a fresh download may cure, and content that must not or
 * cannot go into an image, which nothing cures.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";
import { shown } from "./byte_strings.ts";

/** A layer whose bytes do not decompress or are no tar; the caller may discard `digest` and fetch it again. */
export class DamagedLayer extends Failure {
  /** The layer's digest, as the manifest names it. */
  readonly digest: string;

  constructor(digest: string, reason: string, cause?: unknown) {
    super("DATAERR", `Cannot read layer "${escapeControls(digest)}": ${reason}`, {
      code: "damaged_layer",
      hint: "it was fetched anew and is still damaged: the registry has it like this",
      cause,
    });
    this.digest = digest;
  }
}

/** The failure for an entry that must not be merged; `name` is a binary string. */
export function unsafeEntry(digest: string, name: string, reason: string): Failure {
  return new Failure(
    "DATAERR",
    `Cannot merge layer "${escapeControls(digest)}": entry "${shown(name)}" ${reason}`,
    { code: "unsafe_layer", hint: "the image itself is at fault: it has to be built again" },
  );
}

/** The failure for an image that passes a bound; `what` says which, with numbers. */
export function tooLarge(digest: string, what: string, hint: string): Failure {
  return new Failure("DATAERR", `Cannot merge layer "${escapeControls(digest)}": ${what}`, {
    code: "image_too_large",
    hint,
  });
}
