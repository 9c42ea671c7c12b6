/**
 * The files that make a root filesystem startable by enroot and pyxis: `/etc/rc` (entrypoint and command),
 * `/etc/rc.local`, `/etc/environment`, `/etc/fstab` (volumes), and the working directory. Their formats are
 * enroot's (src/docker.sh, "docker::configure"); all values come from the image and are not trusted.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";
import type { Log } from "../host/log.ts";
import { binaryOfText } from "./byte_strings.ts";
import { Directory, RegularFile, Rootfs, UnusablePath } from "./rootfs.ts";
import type { ImageConfig } from "./types.ts";

/** What the files say beside the image's configuration. */
export interface EnrootFilesOptions {
  readonly config: ImageConfig;
  /** `docker://REGISTRY/REPOSITORY@sha256:…`, never a tag: two imports of one digest have to be equal. */
  readonly provenance: string;
  /** The number of the layer that these files make, above all others. */
  readonly layer: number;
  /** Times of all the files. */
  readonly mtimeSeconds: number;
  readonly log: Log;
}

// deno-lint-ignore no-control-regex -- characters that could end a comment or a line
const CONTROLS_REGEXP = /[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g;

/** Puts the files into `rootfs`, in place of what its layers have there; a linked `/etc` is followed. */
export function addEnrootFiles(rootfs: Rootfs, options: EnrootFilesOptions): void {
  const { config, layer, mtimeSeconds, log } = options;
  const files: [name: string, text: string][] = [
    ["rc", formatRc(config, options.provenance)],
    [
      "rc.local",
      "# Read by /etc/rc when a container starts, before the image's command.\n" +
      '# May change the working directory, the environment and, by "set --", the command.\n',
    ],
    ["environment", formatEnvironment(config.env, log)],
    ["fstab", formatFstab(config.volumes, log)],
  ];
  try {
    const etc = rootfs.makeDirectory(["etc"], layer);
    for (const [name, text] of files) {
      const file = new RegularFile(layer, 0o644, 0, 0, mtimeSeconds, undefined);
      file.content = new TextEncoder().encode(text);
      file.sizeBytes = file.content.length;
      rootfs.put({ directory: etc, name }, file, layer);
    }
    addWorkingDirectory(rootfs, config.workingDir, layer, log);
  } catch (error) {
    if (!(error instanceof UnusablePath)) throw error;
    throw new Failure(
      "DATAERR",
      `Cannot add enroot's files: the image's /etc or working directory ${error.message}`,
      {
        code: "unsafe_layer",
        cause: error,
      },
    );
  }
}

function addWorkingDirectory(rootfs: Rootfs, workingDir: string, layer: number, log: Log): void {
  const components = binaryOfText(workingDir).split("/");
  const existing = rootfs.findFollowing(components);
  if (existing && !(existing instanceof Directory)) {
    log.warn("the image's working directory is no directory", { path: workingDir });
  } else if (!existing) rootfs.makeDirectory(components, layer);
}

/** The text of `/etc/rc`, which sh runs with the user's command as arguments. Throws for a NUL in an argument. */
export function formatRc(config: ImageConfig, provenance: string): string {
  const { entrypoint, workingDir } = config;
  const cmd = entrypoint.length === 0 && config.cmd.length === 0 ? ["/bin/sh"] : config.cmd;
  const comments = [`enroot-provenance: ${provenance}`];
  for (const [name, value] of Object.entries(config.labels)) comments.push(`${name} ${value}`);
  const directory = shellQuote(workingDir.startsWith("/") ? workingDir : `/${workingDir}`);
  const start = ["exec", ...entrypoint.map(shellQuote)].join(" ");
  return [
    ...comments.map((comment) => `# ${comment.replace(CONTROLS_REGEXP, " ")}`),
    "",
    `mkdir -p ${directory} 2> /dev/null`,
    `cd ${directory} && unset OLDPWD || exit 1`,
    "",
    "if [ -s /etc/rc.local ]; then",
    "    . /etc/rc.local",
    "fi",
    "",
    "if [ $# -gt 0 ]; then",
    `    ${start} "$@"`,
    "else",
    `    ${[start, ...cmd.map(shellQuote)].join(" ")}`,
    "fi",
    "",
  ].join("\n");
}

/** One word of a POSIX shell that stands for `text`, whatever is in it but NUL, which no argument can hold. */
export function shellQuote(text: string): string {
  if (text.includes("\0")) {
    throw new Failure(
      "DATAERR",
      `Cannot write /etc/rc: "${escapeControls(text)}" has a NUL, no argument can`,
      {
        code: "bad_config",
      },
    );
  }
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The text of `/etc/environment`: one `NAME=VALUE` a line; what does not fit on one is left out and said. */
export function formatEnvironment(env: readonly string[], log: Log): string {
  let text = "";
  for (const variable of env) {
    if (/^[^=\0\n]+=[^\0\n]*$/.test(variable)) text += `${variable}\n`;
    else {
      log.warn("variable left out of /etc/environment: it has no name, or a line break or NUL in it", {
        name: variable.split("=", 1)[0],
      });
    }
  }
  return text;
}

/**
 * The text of `/etc/fstab`: each volume bind-mounted on itself, as enroot does. Its path is expanded by enroot
 * for the sake of `ENROOT_ROOTFS`, so one with `$` or a back quote is left out.
 */
export function formatFstab(volumes: readonly string[], log: Log): string {
  let text = "";
  for (const volume of volumes) {
    // deno-lint-ignore no-control-regex -- as said above
    if (!volume.startsWith("/") || /[$`\u0000-\u001f\u007f]/.test(volume)) {
      log.warn(
        "volume left out of /etc/fstab: its path is not absolute, or has $, ` or control characters in it",
        {
          path: volume,
        },
      );
      continue;
    }
    const path = volume.replaceAll("\\", "\\134").replaceAll(" ", "\\040").replaceAll("#", "\\043");
    text += `\${ENROOT_ROOTFS}${path} ${path} none x-create=dir,bind,rw,nosuid,nodev\n`;
  }
  return text;
}
