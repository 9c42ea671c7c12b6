/**
 * How variables come into a container without showing in the argv of the CLI, which every user of the host can read:
 * `--env=NAME` and the value in the CLI's own environment carries any value. Names that would change the CLI itself
 * (PATH, LD_PRELOAD, HTTPS_PROXY …), and all of them where sudo cleans the environment, go by a private file, which
 * cannot carry line ends; only what is left after that goes by argv.
 *
 * @module
 */

/** Flags for `create` and `exec`, and the environment that belongs to them; disposing removes the file. */
export interface PassedEnvironment extends AsyncDisposable {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What podman, docker, their helpers, the Go runtime and the loader look at. */
const CLI_NAMES_REGEXP =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|TERM|TMPDIR|LANG|LANGUAGE|TZ|NO_COLOR|NOTIFY_SOCKET|GCONV_PATH|LOCPATH|\w+_PROXY|(?:LC|LD|GO|MALLOC|GLIBC|DOCKER|BUILDKIT|COMPOSE|CONTAINERS?|PODMAN|BUILDAH|STORAGE|REGISTRY|REGISTRIES|XDG|DBUS|LISTEN|SSL|SSH|SUDO|OTEL|NETAVARK|RUST)_?\w*|_.*)$/i;
/** Both CLIs read such a line as it is. They cut lines at 64 KiB (Go's bufio.Scanner). */
const PLAIN_VALUE_REGEXP = /^(?:[^\s'"\\#$*`](?:[^\n\r\0'"\\#$*`]*[^\s'"\\#$*`])?)?$/;
const LINE_LIMIT_CHARS = 16_000;

/** Decides for each variable; `isSudo`: the CLI's environment does not survive. */
export async function passEnvironment(
  variables: Readonly<Record<string, string>>,
  { isSudo }: { isSudo: boolean },
): Promise<PassedEnvironment> {
  const flags: string[] = [];
  const env: Record<string, string> = {};
  const lines: string[] = [];
  for (const [name, value] of Object.entries(variables)) {
    if (!isSudo && !CLI_NAMES_REGEXP.test(name)) {
      env[name] = value;
      flags.push(`--env=${name}`);
    } else if (PLAIN_VALUE_REGEXP.test(value) && value.length < LINE_LIMIT_CHARS) {
      lines.push(`${name}=${value}\n`);
    } else flags.push(`--env=${name}=${value}`);
  }
  if (lines.length === 0) return { flags, env, async [Symbol.asyncDispose]() {} };
  const file = await Deno.makeTempFile({ prefix: "davit-env-" }); // 0600
  await Deno.writeTextFile(file, lines.join(""));
  return {
    flags: [`--env-file=${file}`, ...flags],
    env,
    [Symbol.asyncDispose]: () => Deno.remove(file),
  };
}
