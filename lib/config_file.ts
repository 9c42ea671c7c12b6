/**
 * Reads a configuration file: YAML, nested like the keys of lib/settings_table.ts. All faults of a file are
 * reported at once, each with its line, because a half-read configuration is worse than none.
 *
 * @module
 */
import { escapeControls } from "./host/logfmt.ts";
import { errnoOf } from "./host/errno.ts";
import { Failure, messageOf } from "./failure.ts";
import type { ConfigFile, Environment } from "./settings.ts";
import { SETTING_KEYS, type SettingKey, SETTINGS } from "./settings_table.ts";

const SIZE_LIMIT = 1 << 20;

/** The files that are looked for, the stronger first. */
export function configPaths({ HOME, XDG_CONFIG_HOME, DAVIT_CONFIG }: Environment): string[] {
  if (DAVIT_CONFIG) return [DAVIT_CONFIG];
  const home = XDG_CONFIG_HOME?.startsWith("/")
    ? XDG_CONFIG_HOME
    : HOME?.startsWith("/") && `${HOME}/.config`;
  return [...home ? [`${home}/davit/config.yaml`] : [], "/etc/davit/config.yaml"];
}

/** Reads the files that exist; `must` makes a missing one an error (it was named by `DAVIT_CONFIG`). */
export async function readConfigFiles(
  paths: readonly string[],
  { must = false } = {},
): Promise<ConfigFile[]> {
  const files: ConfigFile[] = [];
  for (const path of paths) {
    const text = await readSmall(path, must);
    if (text !== undefined) files.push(await parseConfig(path, text));
  }
  return files;
}

async function readSmall(path: string, must: boolean): Promise<string | undefined> {
  try {
    const { size, isFile } = await Deno.stat(path);
    if (!isFile) throw unusable(path, "it is not a regular file, wanted YAML");
    if (size > SIZE_LIMIT) throw unusable(path, `it has ${size} bytes, at most ${SIZE_LIMIT} are read`);
    return await Deno.readTextFile(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (!must && (errno === "ENOENT" || errno === "ENOTDIR")) return undefined;
    throw error instanceof Failure ? error : unusable(path, messageOf(error), error);
  }
}

/** Parses the text of one file. */
export async function parseConfig(path: string, text: string): Promise<ConfigFile> {
  const { isMap, isScalar, isSeq, LineCounter, parseDocument } = await import("yaml");
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults = document.errors.map(({ pos, message }) => `line ${lines.linePos(pos[0]).line}: ${message}`);
  const values = new Map<SettingKey, { texts: string[]; line: number }>();

  function walk(node: unknown, prefix: string): void {
    if (!isMap(node)) {
      faults.push(`${prefix === "" ? "the file" : prefix.slice(0, -1)} is not a map of settings`);
      return;
    }
    for (const { key, value } of node.items) {
      const name = prefix + String(isScalar(key) ? key.value : key);
      const offset = isScalar(key) ? key.range?.[0] : undefined;
      const line = offset === undefined ? 0 : lines.linePos(offset).line;
      if (SETTING_KEYS.some((known) => known.startsWith(`${name}.`))) walk(value, `${name}.`);
      else if (!isKey(name)) faults.push(`line ${line}: no setting is called "${escapeControls(name)}"`);
      else {
        const items = isSeq(value) && SETTINGS[name].list ? value.items : [value];
        // The source text, not the value: YAML 1.2 would read the mode 0644 as the number 644.
        const texts = items.map((item) =>
          isScalar(item) && item.value !== null ? item.source ?? String(item.value) : undefined
        );
        if (texts.every((item) => item !== undefined)) values.set(name, { texts, line });
        else {faults.push(
            `line ${line}: ${name} wants ${SETTINGS[name].list ? "texts" : "one text or number"}`,
          );}
      }
    }
  }
  if (faults.length === 0 && document.contents !== null) walk(document.contents, "");
  if (faults.length > 0) throw unusable(path, faults.join("; "));
  return { path, values };
}

function isKey(name: string): name is SettingKey {
  return Object.hasOwn(SETTINGS, name);
}

function unusable(path: string, reason: string, cause?: unknown): Failure {
  return new Failure("CONFIG", `Cannot use configuration file "${path}": ${reason}`, {
    code: "bad_configuration",
    hint: "`davit config show` lists every setting and where its value came from",
    cause,
  });
}
