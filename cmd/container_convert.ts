/**
 * `container convert`: a CVS cluster file in davit's form.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { ownerOf } from "./container_options.ts";
import type { Context } from "./context.ts";

const HELP = `
Every default of CVS is written out, so that it can be changed or taken away. What has no place in the native form
stands above it as comments; --json has it as \`notes\`. Not needed to use a CVS file: -f reads it as it is.

Examples:
  davit container convert cluster.json > train.yaml
  davit container plan -f train.yaml

Exit status (error.code): 0 done; 64 wrong usage; 65 what is wrong with the file, all of it (bad_spec);
66 there is no such file (no_spec).`;

/** Builds the command. */
export function containerConvert(context: Context): CommandUnknownOpts {
  return new Command("convert")
    .description("Write a CVS cluster file in davit's form")
    .argument("<file>", "the cluster file")
    .addHelpText("after", HELP)
    .action(async (file) => {
      const { convertCvs } = await import("../lib/container/convert.ts");
      const { readSpecFile } = await import("../lib/container/spec_load.ts");
      const path = file.startsWith("/") ? file : `${Deno.cwd()}/${file}`;
      const { yaml, json, notes } = await convertCvs(await readSpecFile(path), {
        path,
        user: ownerOf(context.env),
      });
      context.result({ spec: json, notes }, yaml);
    });
}
