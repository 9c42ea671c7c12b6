/**
 * Finds the value of a setting and where it came from: flag > environment (`DAVIT_*`) > file > default.
 * Pure: the environment and the files' contents are handed in.
 *
 * @module
 */
import { Failure, messageOf } from "./failure.ts";
import { type SettingKey, SETTINGS, type SettingSpec, type SettingValue } from "./settings_table.ts";

/** The process environment, as handed in by main. */
export type Environment = Readonly<Record<string, string>>;

/** Where a value came from; `name` is the flag, the variable or the file and its line. */
export interface Origin {
  readonly kind: "flag" | "environment" | "file" | "default";
  readonly name: string;
}

/** A setting with its history. `text` is the value as a person would write it. */
export interface Resolved<T> {
  readonly value: T;
  readonly text: string;
  readonly origin: Origin;
}

/** What one configuration file sets: texts by key, with the place of each. */
export interface ConfigFile {
  readonly path: string;
  readonly values: ReadonlyMap<SettingKey, { readonly texts: readonly string[]; readonly line: number }>;
}

/** Everything a value may come from; `files` with the stronger first. */
export interface Sources {
  readonly flags: Readonly<Partial<Record<SettingKey, string | readonly string[]>>>;
  readonly environment: Environment;
  readonly files: readonly ConfigFile[];
}

/** `image.cache_dir` is set by `DAVIT_IMAGE_CACHE_DIR`. */
export function variableOf(key: SettingKey): string {
  return `DAVIT_${key.replaceAll(".", "_").toUpperCase()}`;
}

/** `image.cache_dir` is set by `--cache-dir`. */
export function flagOf(key: SettingKey): string {
  return `--${key.slice(key.lastIndexOf(".") + 1).replaceAll("_", "-")}`;
}

/** Resolves one setting; a text that cannot be read is a {@linkcode Failure} naming its origin. */
export function resolveSetting<K extends SettingKey>(key: K, sources: Sources): Resolved<SettingValue<K>> {
  const { texts, origin } = find(key, sources);
  const spec = SETTINGS[key];
  if (texts === undefined) {
    const text = spec.fallback(sources.environment);
    return { value: read(key, text === undefined ? [] : [text], origin), text: text ?? "", origin };
  }
  return { value: read(key, texts, origin), text: texts.join(","), origin };
}

function find(key: SettingKey, { flags, environment, files }: Sources) {
  const flag = flags[key];
  if (flag !== undefined) {
    return {
      texts: typeof flag === "string" ? [flag] : flag,
      origin: { kind: "flag", name: flagOf(key) },
    } as const;
  }
  const { list, otherVariable }: SettingSpec<unknown> = SETTINGS[key];
  for (const variable of [variableOf(key), ...otherVariable === undefined ? [] : [otherVariable]]) {
    const fromEnvironment = environment[variable];
    // An empty variable means "not set": shells cannot unset one for a single command.
    if (fromEnvironment === undefined || fromEnvironment === "") continue;
    const texts = list ? fromEnvironment.split(/[\s,]+/).filter(Boolean) : [fromEnvironment];
    return { texts, origin: { kind: "environment", name: variable } } as const;
  }
  for (const { path, values } of files) {
    const found = values.get(key);
    if (found) {
      return { texts: found.texts, origin: { kind: "file", name: `${path}:${found.line}` } } as const;
    }
  }
  return { texts: undefined, origin: { kind: "default", name: "default" } } as const;
}

function read<K extends SettingKey>(key: K, texts: readonly string[], origin: Origin): SettingValue<K> {
  const spec = SETTINGS[key];
  try {
    const values = texts.map((text) => spec.parse(text));
    return (spec.list ? values : values[0]) as SettingValue<K>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Failure(
      origin.kind === "flag" ? "USAGE" : "CONFIG",
      `Cannot use ${origin.kind === "flag" ? flagOf(key) : `setting ${key} from ${origin.name}`}: ${
        messageOf(error)
      }`,
      { code: origin.kind === "flag" ? "usage" : "bad_configuration", cause: error },
    );
  }
}
