/**
 * Whether Docker and Podman answer on their sockets: one GET /_ping of the Docker Engine API, which both
 * serve. Nothing but unix sockets is spoken to.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { type Check, type Finding, reasonOf, shown, worstOf } from "./check.ts";

/** The Docker daemon that the docker program would use. */
export function dockerCheck(env: Readonly<Record<string, string>>): Check {
  return { name: "docker", look: (signal) => lookAtDocker(env, signal) };
}

/** Podman's services: of the machine and of the user. */
export function podmanCheck(env: Readonly<Record<string, string>>): Check {
  const user = env.XDG_RUNTIME_DIR;
  const paths = ["/run/podman/podman.sock", ...user ? [`${user}/podman/podman.sock`] : []];
  return {
    name: "podman",
    async look(signal) {
      const found = await Promise.all(paths.map((path) => ask(path, "podman", signal)));
      return found.find(({ state }) => state === "ok") ??
        found.find(({ state }) => state === "degraded") ?? {
        ...found[0]!,
        detail: found.map(({ detail }) => detail).join("; "),
        state: worstOf(found.map(({ state }) => state)),
      };
    },
  };
}

const DEFAULT_DOCKER = "/var/run/docker.sock";

async function lookAtDocker(env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Finding> {
  const host = env.DOCKER_HOST;
  if (!host) return await ask(DEFAULT_DOCKER, "docker", signal);
  const path = /^unix:\/\/(.+)$/.exec(host)?.[1];
  if (path !== undefined) return await ask(path, "docker", signal);
  return {
    state: "degraded",
    detail: `DOCKER_HOST is ${
      shown(host.replace(/\/\/[^@/]*@/, "//…@"))
    }: not asked, as it is no local socket`,
    cost: "not known whether it answers",
    mend: "ask it yourself: `docker version`",
  };
}

const START = {
  docker: "start it (systemctl start docker); in a container, mount the host's socket",
  podman: "start its service (systemctl start podman.socket, with --user for your own)",
};
const PERMIT = {
  docker: "join the group of the socket (usermod -aG docker USER) and log in again, or run as root",
  podman: "use your own service: systemctl --user start podman.socket",
};
const WORK = "look at the daemon: systemctl status, journalctl -u";

/** One socket; absent and silent ones are told apart from those that we may not use. */
async function ask(path: string, name: "docker" | "podman", signal: AbortSignal): Promise<Finding> {
  const where = shown(path);
  const cost = `no container can be run through ${name} from here`;
  let answer: string | undefined;
  try {
    answer = await ping(path, signal);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (errno === "ENOENT" || errno === "ENOTDIR") {
      return { state: "missing", detail: `${where}: there is no such socket`, cost, mend: START[name] };
    }
    if (errno === "EACCES" || errno === "EPERM") {
      return { state: "degraded", detail: `${where}: ${reasonOf(error)}`, cost, mend: PERMIT[name] };
    }
    const what = errno === "ECONNREFUSED" ? "nothing listens on it" : reasonOf(error);
    return { state: "degraded", detail: `${where}: ${what}`, cost, mend: START[name] };
  }
  if (answer === undefined) {
    return { state: "degraded", detail: `${where}: it accepts, but does not answer`, cost, mend: WORK };
  }
  if (!/^HTTP\/1\.[01] 200\b/.test(answer)) {
    const first = answer.split("\r\n")[0]!;
    const detail = `${where}: its answer is not that of a container engine: "${shown(first)}"`;
    return { state: "degraded", detail, cost, mend: WORK };
  }
  const version = header(answer, "Libpod-API-Version") ?? header(answer, "Api-Version");
  return { state: "ok", detail: `${where} answers${version === undefined ? "" : `, API ${shown(version)}`}` };
}

function header(answer: string, name: string): string | undefined {
  return new RegExp(`^${name}: *(.+)\r$`, "im").exec(answer)?.[1];
}

const ANSWER_LIMIT_CHARS = 16_384;

/** The head of the answer; undefined when none came before the abort. Throws what connecting throws. */
async function ping(path: string, signal: AbortSignal): Promise<string | undefined> {
  using connection = await Deno.connect({ transport: "unix", path });
  const silence = new Promise<undefined>((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const conversation = (async () => {
    const request = "GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    await connection.write(new TextEncoder().encode(request));
    const decoder = new TextDecoder();
    const chunk = new Uint8Array(4_096);
    let text = "";
    while (!text.includes("\r\n\r\n") && text.length < ANSWER_LIMIT_CHARS) {
      const length = await connection.read(chunk);
      if (length === null) break;
      text += decoder.decode(chunk.subarray(0, length), { stream: true });
    }
    return text;
  })();
  conversation.catch(() => {}); // the connection is closed under it when nobody waits any more
  return await Promise.race([conversation, silence]);
}
