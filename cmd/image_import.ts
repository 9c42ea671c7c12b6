/**
 * `image import`: declares the flags, puts the parts together and prints the path; the work is in lib/image.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { Activity } from "../lib/host/activity.ts";
import { VERSION } from "../lib/version.ts";
import type { Context } from "./context.ts";
import { addSettings } from "./options.ts";

const HELP = `
The first process to ask imports; the others wait for it and use its file. The lock is flock(2) on
FILE.lock, so \`flock FILE.lock enroot import …\` and davit exclude each other. A file that is there and
valid is used at once, without network or child processes.

Examples:
  davit image import docker://ubuntu:24.04 --output /shared/ubuntu.sqsh
  davit image import nvcr.io#nvidia/pytorch:25.01-py3 --output /shared/pytorch.sqsh --lock-timeout 30m
  srun davit image import "docker://$IMAGE" --output "$FILE" --on-lock-timeout private
  davit import registry.local:5000/app:1 --output app.sqsh --allow-http registry.local:5000 --json

stdout is the path to use, or one JSON object with --json.

Exit status (error.code):
  0   the file is whole, and is what was asked for as far as anybody recorded
  64  usage, bad_reference, bad_platform
  65  the image or the data: wrong_architecture, unsupported_image, unsupported_compression, bad_config,
      unsafe_layer, image_too_large, damaged_layer, digest_mismatch, bad_ca_file
  66  registry_not_found, bad_ca_file (missing)
  69  missing_program (sqfstar), registry_unreachable, registry_untrusted, converter_failed (killed)
  70  bug
  73  cannot_create, cannot_lock, bad_lock_file
  74  no_space, cannot_write, converter_failed, cannot_lock, stdout
  75  try again: lock_timeout, lock_unstable, cannot_tell, registry_transient, deadline, invalid_result, temp_lost
  76  registry_protocol
  77  registry_denied, no_permission, cannot_replace
  78  bad_configuration
  128+n  interrupted by signal n, after tidying up`;

/** Builds the command. */
export function imageImport(context: Context): CommandUnknownOpts {
  const command = new Command("import")
    .description("Import a container image as a squashfs file, once for all who ask")
    .argument("<reference>", "docker://[USER@][REGISTRY#]IMAGE[:TAG][@DIGEST]")
    .requiredOption("-o, --output <file>", "the squashfs file to have")
    .option("--lock-file <file>", "lock this file (default: the output with .lock behind it)")
    .option("--mkdir", "make the output's directory if it is missing", false)
    .addHelpText("after", HELP);
  addSettings(command, [
    "image.platform",
    "image.freshness",
    "image.compression",
    "image.mode",
    "image.lock_timeout",
    "image.max_wait",
    "image.on_lock_timeout",
    "image.private_dir",
    "image.grace",
    "image.cache_dir",
    "image.connections",
    "image.retries",
    "image.stall_timeout",
    "image.allow_http",
    "image.ca_file",
    "image.max_unpacked",
  ]);
  return command.action(async (text, { output, lockFile, mkdir }, self) => {
    const settings = context.settings(self);
    const { parseReference, formatReference } = await import("../lib/image/reference.ts");
    const { parsePlatform, hostPlatform, formatPlatform } = await import("../lib/image/platform.ts");
    const { importImage } = await import("../lib/image/import.ts");
    const { slurmFacts, deadlineSignal } = await import("../lib/host/slurm.ts");
    const reference = parseReference(text);
    const asked = settings.get("image.platform");
    const platform = asked === undefined ? hostPlatform() : parsePlatform(asked);
    const activity = new Activity();
    const slurm = slurmFacts(context.env);
    using deadline = deadlineSignal(slurm, context.signal);
    using _display = context.progress(activity);
    const result = await importImage({
      output,
      lockFile,
      mkdir,
      mode: settings.get("image.mode"),
      graceMs: settings.get("image.grace"),
      freshness: settings.get("image.freshness"),
      lockTimeoutMs: settings.get("image.lock_timeout"),
      maxWaitMs: settings.get("image.max_wait"),
      onLockTimeout: settings.get("image.on_lock_timeout"),
      privateDir: settings.get("image.private_dir"),
      uri: formatReference(reference),
      pinnedDigest: reference.digest,
      platform: formatPlatform(platform),
      identity: {
        host: Deno.hostname(),
        pid: Deno.pid,
        uid: Deno.uid(),
        job: slurm?.job,
        what: formatReference(reference),
      },
      davitVersion: VERSION,
      async openEngine(tools) {
        const { openBuiltinEngine } = await import("../lib/image/builtin_engine.ts");
        return openBuiltinEngine(reference, {
          ...tools,
          env: context.env,
          platform,
          cacheDir: settings.get("image.cache_dir"),
          connections: settings.get("image.connections"),
          retries: settings.get("image.retries"),
          stallTimeoutMs: settings.get("image.stall_timeout"),
          allowHttp: settings.get("image.allow_http"),
          caFile: settings.get("image.ca_file"),
          compression: settings.get("image.compression"),
          maxUnpackedBytes: settings.get("image.max_unpacked"),
        });
      },
      activity,
      signal: context.signal,
      workSignal: deadline.signal,
      log: context.log,
    });
    context.result(result, result.output);
  });
}
