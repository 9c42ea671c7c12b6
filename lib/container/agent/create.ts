/**
 * Creates a container from a spec: the argv in one pure function, which a snapshot test reads, and the call.
 *
 * @module
 */
import { Failure, messageOf } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import type { IdentityLabels, ImageFacts } from "../facts.ts";
import { labelsToMap } from "../labels.ts";
import type { ContainerSpec } from "../spec.ts";
import { callFailed, type Cli, textOf } from "./cli.ts";
import { deviceFlags, type DevicePlaces } from "./devices.ts";
import { passEnvironment } from "./environment.ts";

/** What a create needs beside the spec. */
export interface CreateParts {
  readonly labels: IdentityLabels;
  readonly image: ImageFacts;
  readonly deviceFlags: readonly string[];
  readonly envFlags: readonly string[];
}

/** The words after the CLI's name. Every flag is one word, so that no value can be taken for another flag. */
export function createArgv(spec: ContainerSpec, parts: CreateParts): string[] {
  const [entrypoint = "", ...entrypointWords] = spec.entrypoint ?? [];
  const scalar = (flag: string, value: string | number | undefined) =>
    value === undefined || value === "" ? [] : [`--${flag}=${value}`];
  const list = (flag: string, values: readonly string[]) => values.map((value) => `--${flag}=${value}`);
  return [
    "create",
    `--name=${spec.name}`,
    "--pull=never", // `image` has it: another one now would be one that nobody compared
    ...Object.entries(labelsToMap(parts.labels)).map(([name, value]) => `--label=${name}=${value}`),
    ...parts.envFlags,
    ...list("env-file", spec.envFiles),
    ...list("volume", spec.volumes),
    ...parts.deviceFlags,
    ...list("cap-add", spec.capAdd),
    ...list("security-opt", spec.securityOpt),
    ...list("ulimit", spec.ulimits),
    ...scalar("network", spec.network),
    ...scalar("ipc", spec.ipc),
    ...scalar("pid", spec.pid),
    ...scalar("hostname", spec.hostname),
    ...spec.privileged ? ["--privileged"] : [],
    ...scalar("shm-size", spec.shmSizeBytes),
    ...spec.init ? ["--init"] : [],
    ...scalar("user", spec.user),
    ...scalar("workdir", spec.workdir),
    ...scalar("restart", spec.restart),
    // Empty, it puts the image's own out of the way, which would take the command for its arguments and end.
    ...spec.entrypoint === undefined ? [] : [`--entrypoint=${entrypoint}`],
    parts.image.id,
    ...entrypointWords,
    ...spec.command,
  ];
}

/** Creates it and gives its id; what this host lacks and may lack is told by `note`. */
export async function createContainer(
  cli: Cli,
  spec: ContainerSpec,
  { labels, image, places, note, signal, timeoutMs }: {
    labels: IdentityLabels;
    image: ImageFacts;
    places: DevicePlaces;
    note: (line: string) => void;
    signal: AbortSignal;
    timeoutMs: number;
  },
): Promise<string> {
  for (const file of spec.envFiles) await mustBeThere(file, spec.name);
  const isRootless = cli.runtime.hasUserStore && Deno.uid() !== 0 && !cli.isSudo;
  const devices = deviceFlags(spec, cli.runtime, { isRootless, places });
  for (const line of devices.notes) note(line);
  await using passed = await passEnvironment(spec.env, { isSudo: cli.isSudo });
  const parts = { labels, image, deviceFlags: devices.flags, envFlags: passed.flags };
  const end = await cli.run(createArgv(spec, parts), { signal, env: passed.env, timeoutMs });
  if (end.code === 0) {
    const id = /[0-9a-f]{64}/.exec(textOf(end))?.[0];
    if (id !== undefined) return id;
  }
  if (/already in use/i.test(end.stderr)) {
    throw new Failure("REFUSED", `Cannot create container "${spec.name}": the name is taken on this host`, {
      code: "name_taken",
      hint: "another call may have created it just now; look with `davit container status`",
    });
  }
  throw callFailed(`create container "${spec.name}"`, end, "create_failed");
}

async function mustBeThere(file: string, name: string): Promise<void> {
  try {
    await Deno.stat(file);
  } catch (error) {
    // What we may not see, the runtime may.
    if (errnoOf(error) !== "ENOENT") return;
    throw new Failure(
      "NOINPUT",
      `Cannot create container "${name}" with env file "${file}": ${messageOf(error)}`,
      {
        code: "missing_env_file",
        hint: "an env file is read on each host",
      },
    );
  }
}
