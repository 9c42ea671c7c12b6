/**
 * Hosts by the system's OpenSSH: the user's configuration, known_hosts, agent and jump hosts hold as they are.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import type { Log } from "../log.ts";
import { type ChildPeerOptions, type ConnectEnd, type ConnectFault, lastWords } from "./child_peer.ts";
import { controlPath } from "./control_path.ts";
import { AGENT_ARGUMENTS, type PortableFile, pushWords } from "./push.ts";

/** How hosts are reached by ssh. */
export interface SshOptions {
  readonly user?: string | undefined;
  readonly keyFile?: string | undefined;
  /** Further words for ssh, before davit's own: the first of two options counts. */
  readonly options?: readonly string[] | undefined;
  /** How long ssh waits for one host's TCP connection and banner; 10 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a connection stays for the next davit; 60 s, 0 = each has its own. */
  readonly persistSeconds?: number | undefined;
  /** Of ssh, beside this process' own; XDG_RUNTIME_DIR says where shared connections have their sockets. */
  readonly env: Readonly<Record<string, string>>;
  readonly log: Log;
}

/** What runs at the other end. */
export type FarProgram =
  | { readonly kind: "push"; readonly portable: PortableFile }
  | { readonly kind: "command"; readonly words: readonly string[] };

const CONNECT_TIMEOUT_MS = 10_000;
const PERSIST_SECONDS = 60;
/** What OpenSSH 9.6 takes as a name, and nothing that a ProxyCommand's shell could read otherwise. */
const HOST_REGEXP = /^(?!-)[A-Za-z0-9._:%@\[\]-]+$/;

/** What one try is made with. */
export interface Attempt {
  /** Places of push.ts that could not store the file. */
  readonly skippedPlaces: number;
  /** Not over a connection that another davit has left. */
  readonly isAlone: boolean;
  /** Until the deadline. */
  readonly leftMs: number;
}

/** Makes the command line of each try. */
export type StartOf = (
  host: string,
  program: FarProgram,
  attempt: Attempt,
) => Pick<ChildPeerOptions, "argv" | "env" | "push" | "classify" | "silenceMs">;

/** Asks the file system once where a shared connection's socket may be. */
export function sshStart(options: SshOptions): StartOf {
  const { user, keyFile, options: words = [], connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const shared = sharing(options);
  const fixed = [
    ...words,
    "-T",
    ...settings({
      BatchMode: "yes",
      ServerAliveInterval: 15,
      ServerAliveCountMax: 4,
      // A forwarding of the user's that fails, or their command, has no place here.
      ClearAllForwardings: "yes",
      ForwardX11: "no",
      PermitLocalCommand: "no",
      RemoteCommand: "none",
    }),
    ...user === undefined ? [] : ["-l", user],
    ...keyFile === undefined ? [] : ["-i", keyFile, ...settings({ IdentitiesOnly: "yes" })],
  ];
  return (host, program, { skippedPlaces, isAlone, leftMs }) => {
    const isShared = shared !== undefined && !isAlone;
    // ssh is to say what is wrong before the deadline does, which knows nothing.
    const connectSeconds = Math.ceil(Math.min(connectTimeoutMs, leftMs * 0.6) / 1000);
    return {
      argv: [
        "ssh",
        ...fixed,
        ...settings({ ConnectTimeout: connectSeconds }),
        ...settings(isShared ? shared : { ControlMaster: "no", ControlPath: "none" }),
        ...["--", checkHost(host), remoteLine(program, skippedPlaces)],
      ],
      env: options.env,
      push: program.kind === "push" ? program.portable : undefined,
      classify,
      // The other end of a shared connection may have crashed since: ssh would find out in a minute.
      silenceMs: isShared ? Math.min(connectTimeoutMs + 1_000, leftMs / 2) : undefined,
    };
  };
}

function settings(values: Record<string, string | number>): string[] {
  return Object.entries(values).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
}

function sharing({ persistSeconds = PERSIST_SECONDS, env, log, ...rest }: SshOptions) {
  if (persistSeconds === 0) return undefined;
  const path = controlPath({ env, key: JSON.stringify([rest.options ?? [], rest.keyFile ?? null]), log });
  return path === undefined
    ? undefined
    : { ControlMaster: "auto", ControlPath: path, ControlPersist: persistSeconds };
}

/** Refuses a host's name that is none. It is one word of an argv, never of a shell line; ssh may build one of it. */
export function checkHost(host: string): string {
  if (HOST_REGEXP.test(host)) return host;
  throw new Failure("USAGE", `Cannot use "${host}" as a host: wanted a name or an address`, {
    code: "bad_host",
  });
}

function remoteLine(program: FarProgram, skippedPlaces: number): string {
  const words = program.kind === "push"
    ? pushWords(program.portable, skippedPlaces)
    : [...program.words, ...AGENT_ARGUMENTS];
  return ["exec", ...words.map(quoteWord)].join(" ");
}

/** One word for the login shell at the other end, which need not be POSIX: so no control characters. */
export function quoteWord(word: string): string {
  // deno-lint-ignore no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(word)) {
    throw new Failure(
      "USAGE",
      `Cannot use ${JSON.stringify(word)} as a word of --agent: it has a control character`,
      {
        code: "bad_agent",
      },
    );
  }
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

const REFUSED_REGEXP =
  /^.*(?:Permission denied \(|Too many authentication failures|Host key verification failed|no matching (?:host key|key exchange)).*$/m;
/** ssh's words for its own failures; anything else with status 255 counts as the same. */
const SSH_STATUS = 255;

/** What ssh's end says of the host. ssh keeps 255 for itself; another status is the remote command's. */
export function classify({ end, stderr, greeting }: ConnectEnd): ConnectFault {
  const words = lastWords(stderr) || lastWords(greeting.join("\n"));
  const refused = REFUSED_REGEXP.exec(stderr)?.[0];
  if (end.code === SSH_STATUS && refused !== undefined) {
    return {
      code: "login_refused",
      what: `its sshd refused the login${lastWords(refused)}`,
      hint: refused.includes("Host key")
        ? "its key is not in known_hosts, or another: see it with `ssh HOST true` and put it right there"
        : "`ssh -o BatchMode=yes HOST true` must work without a question",
    };
  }
  if (end.code === SSH_STATUS || end.signal !== null) {
    return {
      code: "unreachable",
      what: `no connection${words}`,
      hint: "`ssh HOST true` shows the same",
      // MaxStartups of an sshd, or of a jump host that all connections go through.
      isPassing: /^kex_exchange_identification: /m.test(stderr),
    };
  }
  return {
    code: "agent",
    what: `the login works, but davit does not start there (status ${end.code})${words}`,
    hint: end.code === 127
      ? "name what is there with --agent, or let davit be brought: --agent-file"
      : undefined,
  };
}
