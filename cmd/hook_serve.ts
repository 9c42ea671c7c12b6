/**
 * `hook serve`: declares the flags and puts the server's parts together, for the native protocol and for OSDC's.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import type { Log } from "../lib/host/log.ts";
import type { ServeOptions } from "../lib/hook/serve.ts";
import type { Context, SettingsView } from "./context.ts";
import { ExitAs } from "./exit_as.ts";
import { listenFor } from "./hook_options.ts";
import { addSettings } from "./options.ts";

const HELP = `
Prints one line, the address that clients give as --server, and nothing more on stdout. A job that clears /tmp takes
nothing with it: output is kept in files without names, the directory, the socket and the log file are made again. One
job runs at a time; output waits for its client, up to --spool-max. Children that were left behind come to the
server, which waits for them and, when a job is to end, ends them.

The token is read from a file that others cannot read, or from a descriptor, which is closed then; the server's
memory and environment are closed to other processes of its user. Not to root with CAP_SYS_PTRACE.

Examples:
  (umask 077; openssl rand -hex 32 >/run/davit.token)
  davit hook serve --detach --socket /run/davit.sock --token-file /run/davit.token --unlink-token
  davit hook serve --listen :4711 --token-fd 3 3<token --log-file /var/log/davit-hook.log

With --compat osdc it is the server of the OSDC fork of runner-container-hooks: --port, --token, --daemonize.

The protocol is HTTP, in words in lib/hook/protocol.ts; /health and /metrics (Prometheus) want no token. It refuses with
400 bad_json, bad_body, bad_spec, bad_id, bad_request; 401 unauthorized; 404 not_found, unknown_job; 405 method; 409
busy; 410 forgotten, released; 413 too_large; 503 stopping.

Exit status (error.code): 128+n ended by signal n, its job ended first; 69 it cannot listen (cannot_listen), or does not
with --detach (not_listening); 75 somebody else listens there (address_in_use); 66 no token (token_file); 65 that is no
token (bad_token_file); 77 all can read the token's file (open_token_file); 73 a file cannot be written (cannot_create);
64 wrong usage; 78 bad configuration.`;

const SOCKET_MODE = "600";
const NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

/** Builds the command. */
export function hookServe(context: Context): CommandUnknownOpts {
  const command = new Command("serve")
    .description("Run steps in this container for a client elsewhere, and survive what they do")
    .option("--socket <file>", "listen on this unix socket")
    .option("--listen <address>", "listen on host:port; no host means every address, port 0 a free one")
    .option("--socket-mode <octal>", "who may use the socket", SOCKET_MODE)
    .addOption(
      new Option("--token-fd <number>", "read the token from this descriptor").argParser(wholeNumber),
    )
    .option("--unlink-token", "remove the token's file once it is read")
    .option("--detach", "return once it listens")
    .option("--pid-file <file>", "write the process id here")
    .option("--log-file <file>", "log here instead of stderr")
    .addOption(new Option("--compat <protocol>", "speak this one instead of davit's own").choices(["osdc"]))
    .addOption(new Option("--port <number>", "osdc: the port, 0 for a free one").argParser(wholeNumber))
    .option("--token <text>", "osdc alone: the token, readable by all who can run ps")
    .option("--daemonize", "osdc: as --detach")
    .addHelpText("after", HELP);
  addSettings(command, ["hook.token_file", "hook.rpc_dir", "hook.spool_max", "hook.lease"]);
  return command.action(async (flags, self) => {
    const { compat } = flags;
    const settings = context.settings(self);
    const places = placesOf(flags);
    const rpcDir = settings.get("hook.rpc_dir");
    const [spoolMaxBytes, leaseMs] = [settings.get("hook.spool_max"), settings.get("hook.lease")];
    const token = await tokenOf(flags, settings.get("hook.token_file"));
    if (flags.detach || flags.daemonize) {
      const more = [`--spool-max=${spoolMaxBytes}`, `--lease=${leaseMs}ms`];
      if (rpcDir !== undefined) more.push(`--rpc-dir=${absolute(rpcDir)}`);
      more.push(`--log-level=${settings.get("log_level")}`, ...isJson(self) ? ["--json"] : []);
      return await detach(context, self, { args: [...argumentsOf(flags, places), ...more], token });
    }

    const { serveHook } = await import("../lib/hook/serve.ts");
    const { RpcDir, rpcDirCandidates } = await import("../lib/hook/rpc_dir.ts");
    const log = await logOf(context, settings, flags.logFile);
    const pidFile = flags.pidFile === undefined ? undefined : absolute(flags.pidFile);
    const given = rpcDir === undefined ? undefined : absolute(rpcDir);
    const { removePidFile, writePidFile } = await import("../lib/hook/pid_file.ts");
    const signal = await serveHook({
      ...places,
      token,
      rpcDir: new RpcDir({ candidates: rpcDirCandidates(given, context.env.HOME), log }),
      spoolMaxBytes,
      leaseMs: compat === "osdc" ? 0 : leaseMs,
      compat,
      env: context.env,
      takeSignals: (handler) => listenFor(context, ["SIGCHLD"], handler),
      onListen: async (listening) => {
        if (pidFile !== undefined) await writePidFile(pidFile, log);
        const address = listening.map((one) => one.address).join(" ");
        const port = listening.map((one) => one.port).find((number) => number !== undefined);
        log.info("listening", { address });
        if (compat === "osdc") context.result({ port }, `RPC server listening on [::]:${port}`);
        else context.result({ address, pid: Deno.pid }, address);
      },
      log,
    });
    if (pidFile !== undefined) await removePidFile(pidFile, log);
    throw new ExitAs({ code: 128 + (NUMBERS[signal] ?? 15), signal });
  });
}

interface Flags {
  readonly socket?: string | undefined;
  readonly listen?: string | undefined;
  readonly socketMode: string;
  readonly tokenFd?: number | undefined;
  readonly unlinkToken?: true | undefined;
  readonly token?: string | undefined;
  readonly pidFile?: string | undefined;
  readonly logFile?: string | undefined;
  readonly compat?: "osdc" | undefined;
  readonly port?: number | undefined;
}

type Places = Pick<ServeOptions, "socket" | "listen">;

function placesOf({ compat, port, socket, listen, socketMode }: Flags): Places {
  if (compat === "osdc") {
    if (socket !== undefined || listen !== undefined) throw usage("--compat osdc listens on --port alone");
    return { listen: { hostname: "", port: checkedPort(port ?? 0) } };
  }
  if (port !== undefined) throw usage("--port is for --compat osdc; give --listen host:port");
  if (socket === undefined && listen === undefined) {
    throw usage("expected --socket FILE or --listen HOST:PORT");
  }
  if (!/^0?[0-7]{3}$/.test(socketMode)) {
    throw usage(`--socket-mode: expected an octal mode, got "${socketMode}"`);
  }
  return {
    socket: socket === undefined ? undefined : { path: absolute(socket), mode: parseInt(socketMode, 8) },
    listen: listen === undefined ? undefined : parseListen(listen),
  };
}

function parseListen(text: string): { hostname: string; port: number } {
  const [, host, port] = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined) throw usage(`--listen: expected host:port, got "${text}"`);
  return { hostname: host.replace(/^\[|\]$/g, ""), port: checkedPort(Number(port)) };
}

function checkedPort(port: number): number {
  if (port <= 65_535) return port;
  throw usage(`expected a port of at most 65535, got ${port}`);
}

async function tokenOf(flags: Flags, file: string | undefined): Promise<string> {
  const { compat, tokenFd, token, unlinkToken } = flags;
  const { readTokenFile, readTokenDescriptor, checkToken } = await import("../lib/hook/server_token.ts");
  if (tokenFd !== undefined) return readTokenDescriptor(tokenFd);
  if (compat === "osdc" && token !== undefined) return checkToken(token);
  if (file !== undefined) return readTokenFile(absolute(file), { unlinks: unlinkToken === true });
  throw usage(`expected --token-file or --token-fd${compat === "osdc" ? ", or --token" : ""}`);
}

/** The same server without --detach; its token comes on descriptor 0. */
function argumentsOf(flags: Flags, { socket, listen }: Places): string[] {
  const { compat, pidFile, logFile } = flags;
  const given: [string, string | number | undefined][] = [
    ["token-fd", 0],
    ["socket", socket?.path],
    ["socket-mode", socket === undefined ? undefined : flags.socketMode],
    ["listen", compat === "osdc" || listen === undefined ? undefined : flags.listen],
    ["compat", compat],
    ["port", compat === "osdc" ? listen?.port : undefined],
    ["pid-file", pidFile === undefined ? undefined : absolute(pidFile)],
    ["log-file", logFile === undefined ? undefined : absolute(logFile)],
  ];
  return [
    "hook",
    "serve",
    ...given.flatMap(([name, value]) => value === undefined ? [] : [`--${name}=${value}`]),
  ];
}

async function detach(
  context: Context,
  self: CommandUnknownOpts,
  { args, token }: { args: readonly string[]; token: string },
): Promise<void> {
  const { startDetached } = await import("../lib/hook/detach.ts");
  const onStderr = (bytes: Uint8Array) => void Deno.stderr.writeSync(bytes);
  const end = await startDetached({ args, token, onStderr });
  if ("code" in end) throw new ExitAs({ code: end.code, signal: null });
  // Its one line is ours, in the form that was asked for.
  context.result(isJson(self) ? JSON.parse(end.line) : undefined, end.line);
}

async function logOf(context: Context, settings: SettingsView, file: string | undefined): Promise<Log> {
  if (file === undefined) return context.log;
  const { fileLog } = await import("../lib/hook/log_file.ts");
  return fileLog(absolute(file), { level: settings.get("log_level"), fallback: context.log });
}

function isJson(command: CommandUnknownOpts): boolean {
  return (command.optsWithGlobals() as { json?: boolean }).json === true;
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usage(`expected a whole number, got "${text}"`);
}

function usage(what: string): Failure {
  return new Failure("USAGE", `Cannot start the hook server: ${what}`, { code: "usage" });
}
