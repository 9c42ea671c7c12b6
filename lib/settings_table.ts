/**
 * Every setting of davit: its name in a configuration file, how its text is read, and what holds without it.
 * The flag and the variable follow from the name (lib/settings.ts), so the three cannot drift apart.
 *
 * @module
 */
import { LOG_LEVELS, type LogLevel } from "./host/log.ts";
import { parseBytes, parseDuration } from "./units.ts";

type Environment = Readonly<Record<string, string>>;

/** How one setting is read. `parse` throws SyntaxError. */
export interface SettingSpec<T> {
  /** What stands for the value in help: `<dir>`. */
  readonly placeholder: string;
  /** One line of help. */
  readonly description: string;
  readonly parse: (text: string) => T;
  /** The text that holds when nothing sets it; undefined = no value. */
  readonly fallback: (environment: Environment) => string | undefined;
  /** May be given several times; the value is an array. */
  readonly list: boolean;
  /** The allowed words, when there is a fixed set; completions offer them. */
  readonly choices?: readonly string[];
  /** A variable of another program's, read where ours is not set. */
  readonly otherVariable?: string;
}

interface Details<T> {
  readonly parse: (text: string) => T;
  readonly fallback?: string | ((environment: Environment) => string);
  readonly choices?: readonly string[];
  readonly otherVariable?: string;
}

function setting<T>(placeholder: string, description: string, details: Details<T>): SettingSpec<T> {
  const { parse, fallback, choices, otherVariable } = details;
  return {
    placeholder,
    description,
    parse,
    fallback: typeof fallback === "function" ? fallback : () => fallback,
    list: false,
    ...choices && { choices },
    ...otherVariable && { otherVariable },
  };
}

function choice<T extends string>(description: string, words: readonly T[], fallback: T): SettingSpec<T> {
  const parse = (text: string) => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new SyntaxError(`expected one of ${words.join(", ")}, got "${text}"`);
    return found;
  };
  return setting(`<${words.join("|")}>`, description, { parse, fallback, choices: words });
}

function duration(description: string, fallback: string): SettingSpec<number> {
  return setting("<duration>", description, { parse: parseDuration, fallback });
}

function whole(description: string, minimum: number, maximum: number, fallback: string): SettingSpec<number> {
  const parse = (text: string) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= minimum && value <= maximum)) {
      throw new SyntaxError(`expected a whole number from ${minimum} to ${maximum}, got "${text}"`);
    }
    return value;
  };
  return setting("<number>", description, { parse, fallback });
}

function parseText(text: string): string {
  if (text === "") throw new SyntaxError("expected a value, got an empty text");
  return text;
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new SyntaxError(`expected an octal mode such as 0644, got "${text}"`);
  return parseInt(text, 8);
}

function parseSpool(text: string): number {
  const bytes = parseBytes(text);
  if (bytes < 1 << 20) throw new SyntaxError(`expected 1MiB or more, got "${text}"`);
  return bytes;
}

function cacheHome({ XDG_CACHE_HOME, HOME }: Environment): string {
  if (XDG_CACHE_HOME?.startsWith("/")) return `${XDG_CACHE_HOME}/davit`;
  // Slurm nodes without a /home are common; /var/tmp survives a reboot and is not a RAM disk.
  return HOME?.startsWith("/") && HOME !== "/" ? `${HOME}/.cache/davit` : "/var/tmp/davit-cache";
}

/** The table. A key is `<section>.<name>`, or one name for what concerns every command. */
export const SETTINGS = {
  "log_level": choice<LogLevel>("How much to say on stderr", LOG_LEVELS, "info"),
  "image.cache_dir": setting("<dir>", "Where downloaded layers are kept", {
    parse: parseText,
    fallback: cacheHome,
  }),
  "image.platform": setting("<os/arch>", "Import for this platform, such as linux/arm64", {
    parse: parseText,
  }),
  "image.allow_http": {
    ...setting("<host>", "Speak plain HTTP with this registry host[:port] (repeatable)", {
      parse: parseText,
    }),
    list: true,
  } as SettingSpec<string> & { readonly list: true },
  "image.ca_file": setting("<file>", "Trust the certificates of this PEM file too", { parse: parseText }),
  "image.connections": whole("Layers downloaded at once", 1, 64, "4"),
  "image.retries": whole("Tries after a fault that may pass (429, 5xx, cut connection)", 0, 100, "5"),
  "image.stall_timeout": duration("Cut and resume a transfer that sends nothing for this long", "60s"),
  "image.freshness": choice(
    "missing: a valid image is used as it is; tag: one request asks whether the tag moved",
    ["missing", "tag"],
    "missing",
  ),
  "image.lock_timeout": duration("Give up when the lock's holder makes no progress for this long", "600s"),
  "image.max_wait": setting("<duration>", "Give up waiting after this long, progress or not", {
    parse: parseDuration,
  }),
  "image.on_lock_timeout": choice(
    "fail: exit 75; private: import to this node's --private-dir and print that path",
    ["fail", "private"],
    "fail",
  ),
  "image.private_dir": setting("<dir>", "Node-local directory for private imports", {
    parse: parseText,
    fallback: ({ TMPDIR }) => TMPDIR?.startsWith("/") ? TMPDIR : "/tmp",
  }),
  "image.compression": choice(
    "How sqfstar packs the image; none stores file data as it is",
    ["lz4", "none", "gzip", "lzo", "xz", "zstd"],
    "lz4",
  ),
  "image.mode": setting("<octal>", "Permissions of the image file", { parse: parseMode, fallback: "0644" }),
  "image.grace": duration("Keep replaced and refused images for this long", "24h"),
  "image.max_unpacked": setting("<size>", "Refuse an image that unpacks to more than this", {
    parse: parseBytes,
    fallback: "1TiB",
  }),
  // Any text is an interval: lib/vitals/interval.ts makes one of it. The variable is that of tuist's probe.
  "vitals.interval": setting("<seconds>", "Time between two samples, 0.2 to 60 s", {
    parse: (text) => text,
    fallback: "3",
    otherVariable: "TUIST_RUNNER_VITALS_INTERVAL",
  }),
  "vitals.tag": setting("<word>", "First word of every line", {
    parse: parseText,
    fallback: "RUNNER_VITALS",
  }),
  "vitals.format": choice(
    "tuist: samples on stdout as tuist's probe prints them",
    ["logfmt", "tuist"],
    "logfmt",
  ),
  "vitals.cgroup": setting("<path>", "Watch this cgroup instead of ours", { parse: parseText }),
  "vitals.workdir": setting(
    "<dir>",
    "Watch the filesystem of this directory too, instead of the current one's",
    {
      parse: parseText,
    },
  ),
  "vitals.while_process": setting("<name>", "Say nothing while no process of this name runs", {
    parse: parseText,
  }),
  "vitals.ring": setting("<file>", "Keep the newest lines in this file of fixed size too", {
    parse: parseText,
  }),
  "vitals.ring_size": setting("<size>", "Size of a new --ring file", { parse: parseBytes, fallback: "4MiB" }),
  "vitals.termination_log": setting("<file>", "Keep the last words here too, at most 4096 bytes", {
    parse: parseText,
  }),
  "vitals.textfile": setting("<file>", "Write samples for the textfile collector of node_exporter, *.prom", {
    parse: parseText,
  }),
  "vitals.otlp": setting("<url>", "Send samples to this OTLP/HTTP receiver too", { parse: parseText }),
  "hook.server": setting("<address>", "The hook server, /path/of.sock or host:port", { parse: parseText }),
  "hook.token_file": setting("<file>", "File with the hook server's token", { parse: parseText }),
  "hook.rpc_dir": setting(
    "<dir>",
    "Keep output here, else in the first that works of /tmp/rpc-logs, /dev/shm, /var/tmp, /run and $HOME",
    { parse: parseText },
  ),
  "hook.spool_max": setting("<size>", "Keep at most so much of a job's output, 1MiB or more", {
    parse: parseSpool,
    fallback: "1GiB",
  }),
  "hook.lease": duration("End a job when no client was heard for so long; 0 = never", "10m"),
  "container.runtime": choice("The container runtime's CLI", ["docker", "podman"], "docker"),
  "container.sudo": choice(
    "Call the runtime through sudo -n; auto asks each host by itself",
    ["auto", "never", "always"],
    "auto",
  ),
  "container.fan_out": choice("How hosts are reached", ["local", "ssh", "slurm"], "ssh"),
  "container.parallel": whole("Hosts worked on at once", 1, 10_000, "32"),
  "container.host_timeout": duration("Give up on a host that does not answer for this long", "60s"),
  "container.lock_wait": duration("Give up waiting for another davit's work on the container", "60s"),
  "container.agent": setting("<path>", "The davit that is on the hosts already; otherwise one is pushed", {
    parse: parseText,
  }),
  "container.agent_file": setting("<file>", "The portable davit to push to hosts; this one otherwise", {
    parse: parseText,
  }),
} as const;

/** The name of a setting. */
export type SettingKey = keyof typeof SETTINGS;

type Parsed<K extends SettingKey> = ReturnType<typeof SETTINGS[K]["parse"]>;

/** Settings that have no value unless somebody gives one. */
type Optional =
  | "image.platform"
  | "image.ca_file"
  | "image.max_wait"
  | "vitals.cgroup"
  | "vitals.workdir"
  | "vitals.while_process"
  | "vitals.ring"
  | "vitals.termination_log"
  | "vitals.textfile"
  | "vitals.otlp"
  | "hook.server"
  | "hook.token_file"
  | "hook.rpc_dir"
  | "container.agent"
  | "container.agent_file";

/** The type of a setting's value. */
export type SettingValue<K extends SettingKey> = typeof SETTINGS[K] extends { readonly list: true }
  ? Parsed<K>[]
  : K extends Optional ? Parsed<K> | undefined
  : Parsed<K>;

/** All keys, in the order of the table. */
export const SETTING_KEYS = Object.keys(SETTINGS) as SettingKey[];
