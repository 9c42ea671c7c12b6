/**
 * Where sshd's files are in a container of davit; all are root's alone.
 *
 * @module
 */

/** The directory of all of them. */
export const SSHD_DIRECTORY = "/.davit/ssh";
/** For clients: `ssh -F`. */
export const SSHD_CONFIG = `${SSHD_DIRECTORY}/config`;
/** Which generation the sshd that answers belongs to. */
export const SSHD_GENERATION = `${SSHD_DIRECTORY}/generation`;
/** Client key, its public half, host key, its public half. */
export const SSHD_KEYS: readonly string[] = [
  "id_ed25519",
  "id_ed25519.pub",
  "host_ed25519",
  "host_ed25519.pub",
]
  .map((name) => `${SSHD_DIRECTORY}/${name}`);
