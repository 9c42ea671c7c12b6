/**
 * podman's CLI: no daemon, a store for each user.
 *
 * @module
 */
import type { Runtime } from "./common.ts";

/** See {@linkcode Runtime}. */
export const podman: Runtime = {
  name: "podman",
  program: "podman",
  hasUserStore: true,
  wordsForSudo: () => [], // root's own store is what sudo is for
  // The Container Device Interface: nvidia-ctk writes its description to /etc/cdi.
  removeFlags: ["--time=0"],
  nvidiaFlags: ["--device=nvidia.com/gpu=all"],
  faultOf(stderr) {
    if (
      /^Error: .*(cannot re-exec process|database is locked|error creating runtime|Cannot connect to Podman|unable to connect to Podman)/im
        .test(stderr)
    ) {
      return "daemon";
    }
    // The store, its run directory or its locks: `Error: mkdir /…: permission denied`, `Error: creating …`.
    if (
      /^Error: (?:mkdir|open|stat|lstat|chmod|chown|creating|creating runtime|configure storage|error opening|error creating|opening|failed to (?:get|mount|open|create))[^\n]*(?:permission denied|operation not permitted)/im
        .test(stderr)
    ) {
      return "permission";
    }
    return undefined;
  },
  loginWords: (directory) => ({ global: [], flags: [`--authfile=${directory}/auth.json`] }),
  loginServer: ({ server }) => [server === "" ? "docker.io" : server],
};
