/**
 * Finds who we are at a registry, in the files that enroot, docker, podman and curl leave: `.credentials` of
 * enroot, `config.json` of docker, `auth.json` (containers-auth.json(5)), netrc. Nothing is executed: credential
 * helpers and commands in enroot's file are named in a warning. No secret is ever logged.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { escapeControls } from "../host/logfmt.ts";
import { type AuthFile, type Credentials, matchAuth, parseAuthFile } from "./auth_file.ts";
import { type NetrcEntry, parseNetrc, shellValue } from "./netrc.ts";
import { DOCKER_HUB } from "./reference.ts";

const MAX_FILE_BYTES = 1 << 20;

/** What decides which credentials are found. */
export interface CredentialOptions {
  readonly env: Readonly<Record<string, string>>;
  /** The user of the reference: only this login's credentials are taken. */
  readonly user?: string | undefined;
  readonly repository: string;
  readonly log: Log;
}

/** Credentials and the file they come from, for messages. */
export interface FoundCredentials {
  readonly credentials: Credentials;
  readonly file: string;
}

interface Source {
  readonly file: string;
  readonly kind: "netrc" | "enroot" | "auth";
}

/**
 * Makes a function that finds the credentials for a host (or host:port). Files are read at the first call; those
 * that cannot be read are named in a warning and passed over.
 */
export function findCredentials(
  options: CredentialOptions,
): (host: string) => Promise<FoundCredentials | undefined> {
  const files = new Map<string, Promise<string | undefined>>();
  const said = new Set<string>();
  const warn = (message: string, fields: Record<string, string | number | undefined>) => {
    const key = JSON.stringify([message, fields]);
    if (!said.has(key)) options.log.warn(message, fields);
    said.add(key);
  };
  return async (host) => {
    const helpers: string[] = [];
    for (const source of sourcesOf(options.env)) {
      if (!files.has(source.file)) files.set(source.file, readSmall(source.file, warn));
      const text = await files.get(source.file);
      if (text === undefined) continue;
      const lookup = { host, source, text, warn, ...options };
      const credentials = source.kind === "auth" ? findInAuthFile(lookup, helpers) : findInNetrc(lookup);
      if (credentials === undefined) continue;
      await warnIfOpen(source.file, warn);
      return { credentials, file: source.file };
    }
    for (const file of helpers) {
      warn("credential helpers are not run: put the credentials for this registry into a file", {
        file,
        host,
      });
    }
    return undefined;
  };
}

function sourcesOf(env: Readonly<Record<string, string>>): Source[] {
  const home = env.HOME;
  const config = env.XDG_CONFIG_HOME || (home && `${home}/.config`);
  const enroot = env.ENROOT_CONFIG_PATH || (config && `${config}/enroot`);
  const docker = env.DOCKER_CONFIG || (home && `${home}/.docker`);
  const netrc = env.NETRC || (home && `${home}/.netrc`);
  const all: [string | undefined, Source["kind"]][] = [
    [env.REGISTRY_AUTH_FILE, "auth"],
    [enroot && `${enroot}/.credentials`, "enroot"],
    [docker && `${docker}/config.json`, "auth"],
    [env.XDG_RUNTIME_DIR && `${env.XDG_RUNTIME_DIR}/containers/auth.json`, "auth"],
    [config && `${config}/containers/auth.json`, "auth"],
    [netrc, "netrc"],
  ];
  return all.flatMap(([file, kind]) => file ? [{ file, kind }] : []);
}

type Warn = (message: string, fields: Record<string, string | number | undefined>) => void;

interface Lookup extends CredentialOptions {
  readonly host: string;
  readonly source: Source;
  readonly text: string;
  readonly warn: Warn;
}

async function readSmall(file: string, warn: Warn): Promise<string | undefined> {
  try {
    const { isFile, size } = await Deno.stat(file);
    // A pipe would be waited for; /dev/null is a way to say "none".
    if (!isFile) return undefined;
    if (size <= MAX_FILE_BYTES) return await Deno.readTextFile(file);
    warn("this credentials file is too large to be one", { file, bytes: size });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (errno !== "ENOENT" && errno !== "ENOTDIR") warn("cannot read a credentials file", { file, errno });
  }
  return undefined;
}

async function warnIfOpen(file: string, warn: Warn): Promise<void> {
  const { mode } = await Deno.stat(file);
  if (((mode ?? 0) & 0o004) !== 0) {
    warn("everybody on this host can read a credentials file: chmod 600", { file });
  }
}

function findInAuthFile({ host, source: { file }, text, warn, user, repository }: Lookup, helpers: string[]) {
  let parsed: AuthFile;
  try {
    parsed = parseAuthFile(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // The parser's message may quote what is in the file: only its position goes on.
    const at = /line (\d+) column (\d+)/.exec(error.message);
    warn("this credentials file is not valid JSON", { file, line: at?.[1], column: at?.[2] });
    return undefined;
  }
  const match = matchAuth(parsed, hostNames(host), repository, user);
  for (const key of match.badKeys) {
    warn("cannot read an entry of a credentials file", { file, key: escapeControls(key) });
  }
  if (match.hasHelper) helpers.push(file);
  return match.credentials;
}

function findInNetrc(
  { host, source: { file, kind }, text, warn, user, env }: Lookup,
): Credentials | undefined {
  const isShell = kind === "enroot";
  const { entries, badLines } = parseNetrc(text, { shell: isShell });
  if (badLines.length > 0) {
    warn("cannot read a line of a credentials file", { file, lines: badLines.slice(0, 10).join(",") });
  }
  for (const { machine, ...entry } of candidates(entries, host)) {
    const login = isShell && entry.login !== undefined ? shellValue(entry.login, env) : entry.login;
    const password = isShell && entry.password !== undefined
      ? shellValue(entry.password, env)
      : entry.password;
    const isUnknown = (entry.login !== undefined && login === undefined) ||
      (entry.password !== undefined && password === undefined);
    if (isUnknown) {
      warn(
        "a command or an unset variable in a credentials file is not run or expanded: write the value itself",
        {
          file,
          host: escapeControls(machine ?? host),
        },
      );
      continue;
    }
    const username = login ?? user;
    if (username === undefined || password === undefined || (user !== undefined && username !== user)) {
      continue;
    }
    return { kind: "basic", username, password };
  }
  return undefined;
}

function candidates(entries: readonly NetrcEntry[], host: string): NetrcEntry[] {
  const names = hostNames(host);
  const bare = names.map((name) => name.replace(/:\d+$/, ""));
  return [
    ...entries.filter(({ machine }) => machine !== undefined && names.includes(machine)),
    ...entries.filter(({ machine }) =>
      machine !== undefined && !names.includes(machine) && bare.includes(machine)
    ),
    ...entries.filter(({ machine }) => machine === undefined),
  ];
}

/** The names under which files list a host. */
function hostNames(host: string): string[] {
  return host === DOCKER_HUB ? [host, "docker.io", "index.docker.io"] : [host];
}
