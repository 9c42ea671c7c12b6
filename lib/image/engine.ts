/**
 * What turns a reference into a squashfs file. Everything around it (locks, checks, publishing) is import.ts.
 *
 * @module
 */
import type { Activity } from "../host/activity.ts";
import type { Log } from "../host/log.ts";
import type { SpaceNeed } from "../host/space.ts";

/** An image found at its source. */
export interface FoundImage {
  /** Digest of the platform's manifest. */
  readonly digest: string;
  /** Digest that the reference itself has: of an index, where there is one. */
  readonly referenceDigest: string;
  /** "linux/amd64". */
  readonly platform: string;
  /** What building it will take beside the target. */
  readonly needs: readonly SpaceNeed[];
  /** A lower bound of the finished file's size. */
  readonly targetBytes: number;
  /**
   * Writes the image into the existing file `output`, which after a failure may be gone. A Failure with the code
   * `damaged_layer` is worth one more try.
   */
  build(output: string): Promise<void>;
}

/** What an engine works with. */
export interface EngineTools {
  readonly activity: Activity;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** An engine made for one reference. */
export interface Engine extends AsyncDisposable {
  /** "builtin". */
  readonly name: string;
  /** Told to the sidecar: how files of this engine are packed. */
  readonly compression: string;
  /** The digest the reference has now, by one cheap request; undefined when the source does not say. */
  currentDigest(): Promise<string | undefined>;
  /** Finds the image. */
  find(): Promise<FoundImage>;
}

/** Makes the engine when it is needed: a hit never does. */
export type OpenEngine = (tools: EngineTools) => Promise<Engine>;
