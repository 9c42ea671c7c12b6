/**
 * Has an image on the host: finds, loads or pulls it. A login to its registry goes by a file on the host and stdin
 * into a private directory, never through argv and never into the user's own configuration.
 *
 * @module
 */
import { Failure, messageOf } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import type { ImageFacts } from "../facts.ts";
import type { HostMethods } from "../host_methods.ts";
import type { SpecRegistry } from "../spec.ts";
import { callFailed, type Cli, type CliCall, textOf } from "./cli.ts";
import { inspectImage } from "./inspect.ts";

/** What is asked for. */
export type ImageWish = Pick<HostMethods["image"]["params"], "image" | "imageTar" | "pull" | "registry">;

/** 61 GB take 9 minutes on a fast network; who waits less aborts. */
const TRANSFER_TIMEOUT_MS = 6 * 3_600_000;

/** See the module's description; `onLine` gets the runtime's own progress. */
export async function haveImage(
  cli: Cli,
  wish: ImageWish,
  { signal, onLine }: { signal: AbortSignal; onLine: (line: string) => void },
): Promise<ImageFacts> {
  const { image, imageTar, pull, registry } = wish;
  const present = await inspectImage(cli, image, signal);
  if (present !== null && (pull !== "always" || imageTar !== undefined)) return present;
  const call: CliCall = { signal, timeoutMs: TRANSFER_TIMEOUT_MS, onLine };
  if (imageTar !== undefined) {
    await load(cli, image, imageTar, call);
  } else if (pull === "never") {
    throw missing(
      image,
      "it is not on this host, and pulling is switched off",
      "pull it there, or use --pull missing",
    );
  } else await pullImage(cli, image, registry, call);
  const facts = await inspectImage(cli, image, signal);
  if (facts !== null) return facts;
  throw missing(
    image,
    `it is not there after ${imageTar === undefined ? "the pull" : `loading "${imageTar}"`}`,
  );
}

async function load(cli: Cli, image: string, imageTar: string, call: CliCall): Promise<void> {
  try {
    await Deno.stat(imageTar);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") {
      throw new Failure(
        "NOINPUT",
        `Cannot load image "${image}" from "${imageTar}": there is no such file on this host`,
        {
          code: "image_missing",
          hint: "the archive must be at that path on each host",
          cause: error,
        },
      );
    }
  }
  await cli.must(["load", `--input=${imageTar}`], `load image "${image}" from "${imageTar}"`, call);
}

async function pullImage(
  cli: Cli,
  image: string,
  registry: SpecRegistry | undefined,
  call: CliCall,
): Promise<void> {
  if (registry === undefined) return await pull(cli, [], [], image, call);
  const directory = await Deno.makeTempDir({ prefix: "davit-login-" }); // 0700
  try {
    const { global, flags } = cli.runtime.loginWords(directory);
    const endpoint = await endpointFlags(cli, call);
    await login(cli, [...global, ...endpoint], flags, registry, call);
    await pull(cli, [...global, ...endpoint], flags, image, call);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** The address of a docker context: it is in the configuration that the private one stands in for. */
async function endpointFlags(cli: Cli, { signal }: CliCall): Promise<string[]> {
  if (cli.runtime.name !== "docker" || cli.env.DOCKER_HOST !== undefined) return [];
  const end = await cli.run(["context", "inspect", "--format={{.Endpoints.docker.Host}}"], { signal });
  const host = textOf(end).trim();
  return end.code === 0 && /^\w+:\/\/\S+$/.test(host) ? [`--host=${host}`] : [];
}

async function login(
  cli: Cli,
  global: readonly string[],
  flags: readonly string[],
  registry: SpecRegistry,
  { signal }: CliCall,
): Promise<void> {
  const { server, username, passwordFile } = registry;
  const what = `log in to registry "${server}" as "${username}"`;
  let password: string;
  try {
    password = (await Deno.readTextFile(passwordFile)).replace(/\r?\n$/, "");
  } catch (error) {
    throw new Failure("NOINPUT", `Cannot ${what}: its password file "${passwordFile}": ${messageOf(error)}`, {
      code: "login_failed",
      hint: "the file is read on each host, by the user that davit runs as there",
      cause: error,
    });
  }
  const words = [...global, "login", ...flags, `--username=${username}`, "--password-stdin"];
  const end = await cli.run([...words, ...cli.runtime.loginServer(registry)], {
    signal,
    stdin: new TextEncoder().encode(password),
  });
  if (end.code !== 0) throw callFailed(what, end, "login_failed");
}

async function pull(
  cli: Cli,
  global: readonly string[],
  flags: readonly string[],
  image: string,
  call: CliCall,
): Promise<void> {
  const end = await cli.run([...global, "pull", ...flags, image], call);
  if (end.code === 0) return;
  if (/manifest unknown|not found|name unknown|no basic auth|unauthorized|denied/i.test(end.stderr)) {
    throw callFailed(`pull image "${image}"`, end, "image_missing");
  }
  throw callFailed(`pull image "${image}"`, end, "pull_failed");
}

function missing(image: string, what: string, hint?: string): Failure {
  return new Failure("UNAVAILABLE", `Cannot use image "${image}": ${what}`, { code: "image_missing", hint });
}
