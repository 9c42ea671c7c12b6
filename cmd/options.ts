/**
 * Turns settings into command-line options and back, so that a flag, its variable and its help have one source.
 *
 * @module
 */
import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { flagOf, variableOf } from "../lib/settings.ts";
import { SETTING_KEYS, type SettingKey, SETTINGS } from "../lib/settings_table.ts";

const keysByFlag = new Map(SETTING_KEYS.map((key) => [flagOf(key), key]));

/** The option of one setting. Its text is kept as it is: the value is read where all sources are known. */
export function settingOption(key: SettingKey): Option {
  const { placeholder, description, list, fallback } = SETTINGS[key];
  const standard = fallback({ HOME: "/~" })?.replace(/^\/~/, "~");
  // Written by hand: commander's own .env() would read the process environment.
  const notes = [standard === undefined ? "" : `default: ${standard}`, `env: ${variableOf(key)}`];
  const option = new Option(
    `${flagOf(key)} ${placeholder}`,
    `${description} (${notes.filter(Boolean).join(", ")})`,
  );
  if (list) option.argParser((text: string, before: string[] | undefined) => [...before ?? [], text]);
  return option as unknown as Option;
}

/** Adds the options of several settings. */
export function addSettings(command: CommandUnknownOpts, keys: readonly SettingKey[]): void {
  for (const key of keys) command.addOption(settingOption(key));
}

/** The settings that were given as flags, by key. */
export function flagsOf(command: CommandUnknownOpts): Partial<Record<SettingKey, string | string[]>> {
  const given: Partial<Record<SettingKey, string | string[]>> = {};
  for (let at: CommandUnknownOpts | null = command; at !== null; at = at.parent) {
    for (const option of at.options) {
      const key = option.long ? keysByFlag.get(option.long) : undefined;
      const value: unknown = at.getOptionValue(option.attributeName());
      if (key !== undefined && value !== undefined) given[key] ??= value as string | string[];
    }
  }
  return given;
}
