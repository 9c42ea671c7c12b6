/**
 * `image check`: looks at a squashfs file and says what it is worth.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import type { Context } from "./context.ts";

const HELP = `
Without flags less than 100 kB are read: superblock, table pointers, and size and end against FILE.json.
--deep walks all inodes and directories (unsquashfs); only --full and --sha256 can see damaged file data.
Nothing is ever changed.

Examples:
  davit image check /shared/pytorch.sqsh --quiet || srun davit image import …
  davit image check /shared/pytorch.sqsh --full --json
  davit image check a.sqsh --sha256 4f5e…

Exit status (error.code): 0 valid; 65 invalid (invalid_image); 66 absent (absent); 75 cannot tell
(cannot_tell); 64 wrong usage; 78 bad configuration.`;

/** Builds the command. */
export function imageCheck(context: Context): CommandUnknownOpts {
  return new Command("check")
    .description("Tell whether a squashfs file is whole")
    .argument("<file>", "the file to look at")
    .option("--deep", "walk all inodes and directories too")
    .option("--full", "read every byte and compare with the SHA-256 of FILE.json")
    .addOption(new Option("--sha256 <hex>", "read every byte and compare with this").argParser(parseSha256))
    .option("-q, --quiet", "print no result, only errors")
    .addHelpText("after", HELP)
    .action(async (file, { deep, full, sha256, quiet }) => {
      const { checkImage } = await import("../lib/image/check.ts");
      const verdict = await checkImage(file, {
        level: full ? "full" : deep ? "deep" : "fast",
        sha256,
        signal: context.signal,
      });
      if (verdict.state === "valid") {
        const { sizeBytes, superblock, sidecar, warnings } = verdict;
        const { hex: _, ...facts } = superblock;
        if (quiet) return;
        for (const warning of warnings) context.log.warn(warning, { file });
        const known = sidecar?.digest === undefined ? "" : `, ${sidecar.uri} ${sidecar.digest}`;
        context.result(
          { state: "valid", file, bytes: sizeBytes, ...facts, sidecar: sidecar ?? null, warnings },
          `valid: ${file}: squashfs, ${superblock.compressor}, ${superblock.inodes} inodes, ${sizeBytes} bytes${known}`,
        );
        return;
      }
      throw failureOf(file, verdict);
    });
}

function failureOf(
  file: string,
  verdict: { state: "invalid" | "unknown" | "absent"; reason?: string },
): Failure {
  const { state, reason } = verdict;
  if (state === "absent") {
    return new Failure("NOINPUT", `Cannot check "${file}": there is no such file`, { code: "absent" });
  }
  if (state === "unknown") {
    return new Failure("TEMPFAIL", `Cannot tell whether "${file}" is valid: ${reason}`, {
      code: "cannot_tell",
    });
  }
  return new Failure("DATAERR", `Cannot use image "${file}": ${reason}`, {
    code: "invalid_image",
    hint: "`davit image import` replaces it and keeps the damaged file beside it",
  });
}

function parseSha256(text: string): string {
  const hex = text.replace(/^sha256:/, "").toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex)) {
    throw new Failure("USAGE", `Cannot use --sha256 "${text}": expected 64 hexadecimal digits`, {
      code: "usage",
    });
  }
  return hex;
}
