/**
 * What the parts of `up` share while they change things.
 *
 * @module
 */
import type { Activity } from "../host/activity.ts";
import type { Log } from "../host/log.ts";
import type { KeptOutput } from "./kept_output.ts";
import type { ContainerSpec } from "./spec.ts";
import type { CanonicalSpec } from "./spec_hash.ts";

/** See the module's description. */
export interface Work {
  readonly spec: ContainerSpec;
  readonly canonical: CanonicalSpec;
  readonly owner: string;
  /** Of what is made where there is nothing to join. */
  readonly generation: string;
  /** Leaves what was made in place when a start fails. */
  readonly keepFailed: boolean;
  readonly output: KeptOutput;
  readonly activity: Activity;
  readonly signal: AbortSignal;
  readonly log: Log;
}
