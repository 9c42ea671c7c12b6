/**
 * sshd in a container, for programs that start their parts on other hosts by ssh: keys of one generation, its own
 * configuration below /.davit/ssh, nothing of the user's ~/.ssh. Idempotent; whoever holds the port and is not ours
 * is left alone and named.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import type { CallContext } from "../../host/fan_out/rpc.ts";
import type { Log } from "../../host/log.ts";
import type { HostMethods } from "../host_methods.ts";
import { SSHD_DIRECTORY } from "../sshd_paths.ts";
import { type Cli, lastWords } from "./cli.ts";
import { execIn } from "./exec.ts";
import { mustFind } from "./lifecycle.ts";
import { holderOfPort } from "./port_holder.ts";
import { OWN_DIRECTORY, putFiles } from "./script.ts";
import { SSHD_SCRIPT } from "./sshd_script.ts";

type Params = HostMethods["sshd"]["params"];

/** Given to sessions of this sshd, so that whoever connects can tell which one answered. */
export const GENERATION_VARIABLE = "DAVIT_GENERATION";

const TIMEOUT_MS = 60_000;
const KEPT_CHARS = 16_384;
/** Set by sshd for each session. */
const SESSION_NAMES = new Set(["HOME", "USER", "LOGNAME", "SHELL", "TERM", "MAIL", "PWD", "HOSTNAME"]);

/** Has it running, or says why not. */
export async function haveSshd(
  cli: Cli,
  params: Params,
  context: Pick<CallContext, "signal" | "input" | "messages">,
  log: Log,
): Promise<HostMethods["sshd"]["result"]> {
  const { id, name, generation, port } = params;
  const { signal } = context;
  const container = await mustFind(cli, params, signal);
  await putFiles(cli, params, sshdFiles(params, container.env), signal);
  let output = "";
  const decoder = new TextDecoder();
  const send = (_channel: number, bytes: Uint8Array) => {
    output = (output + decoder.decode(bytes)).slice(-KEPT_CHARS);
    return Promise.resolve();
  };
  const argv = ["sh", `/${OWN_DIRECTORY}/sshd.sh`, generation, String(port)];
  const request = {
    id,
    name,
    argv,
    env: {},
    user: "0",
    tty: false,
    stdin: false,
    timeoutMs: TIMEOUT_MS,
    graceMs: 1_000,
  };
  const { code, timedOut } = await execIn(cli, request, { ...context, send }, log);
  const answer = /^davit-sshd: (\w+)(?: (.*))?$/m.exec(output);
  if (code === 0 && !timedOut) {
    if (answer?.[1] === "started" || answer?.[1] === "running") return { kind: answer[1] };
    if (answer?.[1] === "missing") return { kind: "missing" };
    if (answer?.[1] === "foreign") {
      const holder = answer[2] || await holderOfPort(port) || "a process that is not in the container";
      return { kind: "foreign", holder };
    }
  }
  if (code === 127) return { kind: "missing" }; // not even sh
  const why = timedOut ? `it took more than ${TIMEOUT_MS} ms` : lastWords(output) || `exit status ${code}`;
  throw new Failure("UNAVAILABLE", `Cannot start sshd in container "${name}": ${why}`, {
    code: "sshd_failed",
    hint: `/${OWN_DIRECTORY}/ssh/log in the container has its log`,
  });
}

function sshdFiles(params: Params, env: readonly string[]) {
  const file = (name: string, data: string, mode = 0o600) => ({
    name: `${OWN_DIRECTORY}/${name}`,
    mode,
    data,
  });
  // The directory that counts is filled from this one by the script: keys that it has already stay.
  return [
    { name: `${OWN_DIRECTORY}/ssh.new/`, mode: 0o700 },
    file("ssh.new/id_ed25519", ended(params.clientKey)),
    file("ssh.new/id_ed25519.pub", ended(params.clientPublicKey)),
    file("ssh.new/host_ed25519", ended(params.hostKey)),
    file("ssh.new/host_ed25519.pub", ended(params.hostPublicKey)),
    file("ssh.new/known_hosts", ended(params.knownHosts)),
    file("ssh.new/sshd_config", serverConfig(params, env)),
    file("ssh.new/config", clientConfig(params.knownHosts, params.port)),
    file("sshd.sh", SSHD_SCRIPT, 0o700),
  ];
}

function ended(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}

/** sshd_config(5). */
export function serverConfig({ generation, port, listenAddresses }: Params, env: readonly string[]): string {
  const addresses = listenAddresses.map((address) =>
    address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
  );
  const variables = [`${GENERATION_VARIABLE}=${generation}`, ...env.filter(isSafeVariable)];
  return [
    ...addresses.length === 0 ? [`Port ${port}`] : addresses.map((address) => `ListenAddress ${address}`),
    `HostKey ${SSHD_DIRECTORY}/host_ed25519`,
    `PidFile ${SSHD_DIRECTORY}/pid`,
    `AuthorizedKeysFile ${SSHD_DIRECTORY}/authorized_keys`,
    "AllowUsers root",
    "PermitRootLogin prohibit-password",
    "PubkeyAuthentication yes",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    // The directory is ours and closed; "/" of some images is writable by all, which would refuse every login.
    "StrictModes no",
    "UseDNS no",
    "PrintMotd no",
    "PermitUserEnvironment no",
    "X11Forwarding no",
    "Subsystem sftp internal-sftp",
    // sshd's sessions do not get the environment of the container. One line: only the first of them counts.
    `SetEnv ${variables.map((variable) => variable.replace(/=(.*)$/s, '="$1"')).join(" ")}`,
    "",
  ].join("\n");
}

/** What can stand between quotes in that file. */
function isSafeVariable(variable: string): boolean {
  const [name = ""] = variable.split("=", 1);
  return /^[A-Za-z_]\w*=[^"\\\p{Cc}]*$/u.test(variable) && !SESSION_NAMES.has(name) &&
    !name.startsWith("DAVIT_");
}

/** ssh_config(5), for exactly the hosts of known_hosts. */
export function clientConfig(knownHosts: string, port: number): string {
  const names = new Set(
    knownHosts.split("\n").flatMap((line) => line.split(" ")[0]!.split(","))
      .map((name) => name.replace(/^\[(.*)\]:\d+$/, "$1")).filter(Boolean),
  );
  return `Host ${[...names].join(" ")}
  Port ${port}
  User root
  IdentityFile ${SSHD_DIRECTORY}/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile ${SSHD_DIRECTORY}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  PasswordAuthentication no
  BatchMode yes
`;
}
