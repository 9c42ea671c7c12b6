/**
 * What this davit is.
 *
 * @module
 */
import manifest from "../deno.json" with { type: "json" };

/** davit's version, as in deno.json. */
export const VERSION: string = manifest.version;

/** For `davit --version --json`. */
export function versionFacts(): Record<string, string> {
  const { arch, os } = Deno.build;
  return { name: "davit", version: VERSION, deno: Deno.version.deno, v8: Deno.version.v8, os, arch };
}
