/**
 * What `image import` needs to know; cmd/image_import.ts fills it from flags and settings.
 *
 * @module
 */
import type { Activity } from "../host/activity.ts";
import type { Identity } from "../host/holder_status.ts";
import type { Log } from "../host/log.ts";
import type { OpenEngine } from "./engine.ts";

/** What to import and how; times in milliseconds. */
export interface ImportOptions {
  readonly output: string;
  /** Default: the output with `.lock` behind it. */
  readonly lockFile: string | undefined;
  readonly mkdir: boolean;
  /** Permission bits of the image. */
  readonly mode: number;
  readonly graceMs: number;
  readonly freshness: "missing" | "tag";
  readonly lockTimeoutMs: number;
  readonly maxWaitMs: number | undefined;
  readonly onLockTimeout: "fail" | "private";
  readonly privateDir: string;
  /** The reference in canonical form. */
  readonly uri: string;
  /** The digest named by the reference itself, and the platform that was asked for, if any. */
  readonly pinnedDigest: string | undefined;
  readonly platform: string;
  readonly identity: Identity;
  readonly davitVersion: string;
  readonly openEngine: OpenEngine;
  readonly activity: Activity;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** Ends waiting and working too, but not the look at what is there: a hit needs no time. */
  readonly workSignal: AbortSignal;
  readonly log: Log;
}
