/**
 * `image path`: the file name that launch scripts give an image.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "./context.ts";

const HELP = `
The name is the reference without docker://, each of / : @ # replaced by _, and .sqsh behind it: what
\`echo "$IMAGE" | sed 's/[\\/:@#]/_/g'\` makes in launch scripts, so existing files are found.

Examples:
  FILE=$(davit image path "docker://$IMAGE" --dir /shared/images)
  davit image path nvcr.io#nvidia/pytorch:25.01-py3

Exit status: 0; 64 bad reference; 78 bad configuration.`;

/** Builds the command. */
export function imagePath(context: Context): CommandUnknownOpts {
  return new Command("path")
    .description("Print the file name that launch scripts use for an image")
    .argument("<reference>", "docker://[USER@][REGISTRY#]IMAGE[:TAG][@DIGEST]")
    .option("--dir <dir>", "put this directory before it")
    .addHelpText("after", HELP)
    .action(async (reference, { dir }) => {
      const { imageFileName } = await import("../lib/image/reference.ts");
      const name = imageFileName(reference);
      const path = dir === undefined
        ? name
        : `${dir.replace(/(?<=.)\/+$/, "")}/${name}`.replace(/^\/\//, "/");
      context.result({ path, name }, path);
    });
}
