/**
 * What the texts of a spec may be. They end up as words of ssh, srun, docker and podman: none may begin with a dash
 * or hold a control character, so that none can pass for a flag or a second line.
 *
 * @module
 */

/** Gives what was wanted when `text` is not that, else undefined. */
export type Check = (text: string) => string | undefined;

const NAME_REGEXP = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const HOST_REGEXP = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$/;
const IPV6_REGEXP = /^(?=[^%]*:)[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?:%[A-Za-z0-9_.-]{1,32})?$/;
const IMAGE_REGEXP = /^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}$/;
const LOGIN_REGEXP = /^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,127}\$?$/;
const USER_REGEXP = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/;
const ENV_NAME_REGEXP = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const VOLUME_NAME_REGEXP = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const CDI_REGEXP = /^[A-Za-z0-9.-]+\/[A-Za-z0-9._-]+=[A-Za-z0-9._:-]+$/;
const ULIMIT_REGEXP = /^[a-z]+=(?:-1|\d+)(?::(?:-1|\d+))?$/;
const WORD_REGEXP = /^[A-Za-z0-9_][A-Za-z0-9_.:,=/@+-]*$/;
// deno-lint-ignore no-control-regex
const CONTROL_REGEXP = /[\u0000-\u001f\u007f]/;

function matches(regexp: RegExp, wanted: string): Check {
  return (text) => regexp.test(text) ? undefined : wanted;
}

/** A container's name, by the runtimes' own rule. */
export const containerName: Check = matches(
  NAME_REGEXP,
  "a name of letters, digits, _, . and -, at most 128, not beginning with a sign",
);

/** A host as ssh or Slurm know it: name, alias, IPv4 or IPv6 address. */
export const hostName: Check = (text: string): string | undefined => {
  if (HOST_REGEXP.test(text) || IPV6_REGEXP.test(text)) return undefined;
  if (/[{}<>|]/.test(text)) return "a host name in place of the template's placeholder";
  return "a host name or address (the login goes into `user`, a port into `options`)";
};

/** An image reference. */
export const imageName: Check = matches(IMAGE_REGEXP, "an image reference such as rocm/pytorch:latest");

/** A login on a host. */
export const loginName: Check = matches(LOGIN_REGEXP, "a login name");

/** USER[:GROUP] in the container. */
export const containerUser: Check = matches(USER_REGEXP, "USER, UID or USER:GROUP");

/** A variable's name. */
export const envName: Check = matches(ENV_NAME_REGEXP, "a variable's name of letters, digits and _");

/** One word of a runtime's option: a capability, a group, a network. */
export const word: Check = matches(WORD_REGEXP, "one word that does not begin with a dash");

/** A registry's user; NVIDIA's is called $oauthtoken. */
export const registryUser: Check = matches(/^[!-,.-~][!-~]{0,255}$/, "a user's name");

/** NAME=SOFT[:HARD]. */
export const ulimit: Check = matches(ULIMIT_REGEXP, "NAME=SOFT or NAME=SOFT:HARD, such as memlock=-1");

/** A path on the hosts, or in the container; only absolute ones mean the same everywhere. */
export const absolutePath: Check = (text: string): string | undefined =>
  text.startsWith("/") && !CONTROL_REGEXP.test(text) ? undefined : "an absolute path";

/** Anything that fits one word of a command line. */
export const anyText: Check = (text: string): string | undefined =>
  text.includes("\0") ? "a text without NUL" : undefined;

/** SOURCE:TARGET[:OPTIONS]. */
export const volume: Check = (text: string): string | undefined => {
  const [source = "", target = "", options, ...rest] = text.split(":");
  const isSource = absolutePath(source) === undefined || VOLUME_NAME_REGEXP.test(source);
  const isFine = isSource && absolutePath(target) === undefined && rest.length === 0 &&
    (options === undefined || /^[A-Za-z0-9,=_-]+$/.test(options));
  return isFine ? undefined : "SOURCE:TARGET[:OPTIONS] with absolute paths, or a volume's name as source";
};

/** [-]PATH[:TARGET[:rwm]] with globs, or a CDI name. */
export const device: Check = (text: string): string | undefined => {
  const bare = text.replace(/^-/, "");
  if (CDI_REGEXP.test(bare)) return undefined;
  const [source = "", target, access, ...rest] = bare.split(":");
  const isFine = absolutePath(source) === undefined && rest.length === 0 &&
    (target === undefined || absolutePath(target) === undefined) &&
    (access === undefined || /^[rwm]{1,3}$/.test(access));
  return isFine ? undefined : "[-]PATH[:TARGET[:rwm]], with - for one that may be missing, or a CDI name";
};

/**
 * Bytes of "128G", "64GiB", "512m" or "4096" by docker's rule: K, M, G and T are powers of 1024 whatever follows.
 * Throws SyntaxError on anything else.
 */
export function parseMemory(text: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(number) * 1024 ** (" kmgt".indexOf(unit.toLowerCase() || " ")));
  if (number === undefined || !Number.isSafeInteger(bytes) || bytes === 0) {
    throw new SyntaxError("a size such as 128G (powers of 1024, as docker has it)");
  }
  return bytes;
}
