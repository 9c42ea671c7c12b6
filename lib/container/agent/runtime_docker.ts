/**
 * docker's CLI: a daemon behind a socket, one store for all users of the host.
 *
 * @module
 */
import type { Runtime } from "./common.ts";

/** See {@linkcode Runtime}. */
export const docker: Runtime = {
  name: "docker",
  program: "docker",
  hasUserStore: false,
  wordsForSudo: ({ DOCKER_HOST }) => DOCKER_HOST ? [`--host=${DOCKER_HOST}`] : [],
  removeFlags: [], // it kills at once
  nvidiaFlags: ["--gpus=all"],
  faultOf(stderr) {
    // The socket's own permission, not that of a file which the daemon could not open.
    if (/permission denied while trying to connect|dial unix \S+: connect: permission denied/i.test(stderr)) {
      return "permission";
    }
    if (
      /Cannot connect to the Docker daemon|Is the docker daemon running|error during connect/i.test(stderr)
    ) {
      return "daemon";
    }
    return undefined;
  },
  // --config and not DOCKER_CONFIG: sudo would drop the variable.
  loginWords: (directory) => ({ global: [`--config=${directory}`], flags: [] }),
  loginServer: ({ server }) => server === "" ? [] : [server],
};
