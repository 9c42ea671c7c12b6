/**
 * The tour that the portable file takes wherever it has to run: what everybody does with davit first.
 *
 * @module
 */
import assert from "node:assert/strict";
import { VERSION } from "../lib/version.ts";
import { type KnobRegistry, startKnobRegistry } from "./knob_registry.ts";
import { makeImage, tarOf } from "./make_image.ts";
import type { RunResult } from "./run.ts";

/** A registry on loopback with the image `tour/image:1`. */
export interface TourRegistry extends AsyncDisposable {
  readonly host: string;
}

/** Bytes of an image's largest file: over several blocks of squashfs. */
const BIG_BYTES = 300_000;

/** Starts the registry. */
export async function startTourRegistry(bigBytes = BIG_BYTES): Promise<KnobRegistry> {
  const registry = await startKnobRegistry();
  const big = new Uint8Array(bigBytes);
  for (let at = 0; at < bigBytes; at += 65_536) crypto.getRandomValues(big.subarray(at, at + 65_536));
  registry.add("tour/image", "1", makeImage([tarOf({ "etc/motd": "hello" }), tarOf({ "big": big })]));
  return registry;
}

/** The arguments that import its image. */
export function importArguments(registry: TourRegistry, output: string, cacheDir: string): string[] {
  const from = ["image", "import", `docker://${registry.host}#tour/image:1`, "--allow-http", "127.0.0.1"];
  return [...from, "--output", output, "--cache-dir", cacheDir];
}

/** What is expected of a place. */
export interface Place {
  readonly registry: TourRegistry;
  /** A directory that davit can write to there. */
  readonly dir: string;
  /** Matches davit's whole stderr where it has nothing else to say; it may not say anything by default. */
  readonly says?: RegExp;
  /** Whether squashfs-tools are missing there, so that it has to use its own. */
  readonly ownTools?: boolean;
}

/** Takes the tour; `davit` runs the portable file with these arguments there. */
export async function takeTour(
  davit: (args: readonly string[]) => Promise<RunResult>,
  { registry, dir, says = /^$/, ownTools = true }: Place,
): Promise<void> {
  const version = await davit(["--version"]);
  assert.deepEqual([version.code, version.stdout], [0, `davit ${VERSION}\n`], version.stderr);
  assert.match(version.stderr, says);

  const doctor = await davit(["doctor", "--json", "--dir", dir]);
  assert.equal(doctor.code, 0, doctor.stderr);
  const { checks } = JSON.parse(doctor.stdout) as {
    checks: { name: string; state: string; observed?: string }[];
  };
  const tools = checks.find(({ name }) => name === "squashfs-tools");
  assert.equal(tools?.state, "ok", JSON.stringify(tools));
  if (ownTools) assert.match(JSON.stringify(tools), /carried by davit/);

  const output = `${dir}/tour.sqsh`;
  const imported = await davit(importArguments(registry, output, `${dir}/layers`));
  assert.deepEqual([imported.code, imported.stdout], [0, `${output}\n`], imported.stderr);
  const checked = await davit(["image", "check", output, "--deep"]);
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stdout, /^valid: /);
  const motd = await davit(["self", "tool", "unsquashfs", "-cat", output, "etc/motd"]);
  assert.deepEqual([motd.code, motd.stdout], [0, "hello"], motd.stderr);
  const facts = await davit(["self", "--json"]);
  assert.equal(JSON.parse(facts.stdout).mode, "portable");
}
