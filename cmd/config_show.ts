/**
 * `davit config show`: every setting, its value, and where the value came from.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { configPaths } from "../lib/config_file.ts";
import { flagOf, variableOf } from "../lib/settings.ts";
import { SETTING_KEYS } from "../lib/settings_table.ts";
import type { Context } from "./context.ts";

const HELP = `
A file sets what is named here, nested:

  image:
    cache_dir: /raid/davit
    lock_timeout: 30m
    allow_http: [registry.local:5000]

Examples:
  davit config show
  DAVIT_IMAGE_RETRIES=9 davit config show --json

DAVIT_CONFIG names one file to be read instead of the two.

Exit status: 0; 64 wrong usage; 78 a file or variable cannot be used.`;

/** Builds the command. */
export function configShow(context: Context): CommandUnknownOpts {
  return new Command("show")
    .description("Show every setting and where its value comes from")
    .addHelpText("after", HELP)
    .action((_options, command) => {
      const view = context.settings(command);
      const rows = SETTING_KEYS.map((key) => ({ key, ...view.resolve(key) }));
      const settings = rows.map(({ key, value, origin }) => ({
        key,
        value: value ?? null,
        origin,
        variable: variableOf(key),
        flag: flagOf(key),
      }));
      const files = configPaths(context.env);
      const width = Math.max(...SETTING_KEYS.map((key) => key.length));
      const valueWidth = Math.min(32, Math.max(...rows.map(({ text }) => text.length)));
      const lines = rows.map(({ key, text, origin }) =>
        `${key.padEnd(width)}  ${(text === "" ? "-" : text).padEnd(valueWidth)}  ${origin.name}`
      );
      context.result(
        { files, settings },
        [`# files, the stronger first: ${files.join(", ")}`, ...lines].join("\n"),
      );
    });
}
