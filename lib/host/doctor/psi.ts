/**
 * Whether the kernel tells pressure (Documentation/accounting/psi.rst). A kernel booted without it has no
 * files, or files whose reading is EOPNOTSUPP.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { type Check, type Finding, reasonOf } from "./check.ts";

const RESOURCES = ["cpu", "memory", "io"] as const;

/** The check. */
export function psiCheck({ proc }: { proc: string }): Check {
  return { name: "psi", look: () => lookAtPsi(`${proc}/pressure`) };
}

async function lookAtPsi(directory: string): Promise<Finding> {
  const failed = await Promise.all(RESOURCES.map(async (resource) => {
    try {
      const text = await Deno.readTextFile(`${directory}/${resource}`);
      return text.startsWith("some ") ? undefined : { resource, error: new Error("it is no pressure file") };
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return { resource, error };
    }
  }));
  const [first, ...others] = failed.filter((entry) => entry !== undefined);
  if (first === undefined) return { state: "ok", detail: `${directory} tells cpu, memory and io` };
  const names = [first, ...others].map(({ resource }) => resource).join(", ");
  const cost = `how long tasks waited for ${names} is not known, only how busy they were`;
  const errno = errnoOf(first.error);
  const state = others.length === RESOURCES.length - 1 ? "missing" : "degraded";
  if (errno === "EOPNOTSUPP") {
    return {
      state,
      detail: `the kernel was booted with pressure off (${names}: EOPNOTSUPP)`,
      cost,
      mend: "boot the host with psi=1 on the kernel command line",
    };
  }
  if (errno === "ENOENT" || errno === "ENOTDIR") {
    return {
      state,
      detail:
        `there is no ${directory} for ${names}: a kernel without CONFIG_PSI, one booted with psi=0, or a ` +
        "sandbox that hides it",
      cost,
      mend: "boot the host with psi=1 on the kernel command line; kernels before 4.20 have no pressure",
    };
  }
  return {
    state,
    detail: `${names} cannot be read: ${reasonOf(first.error)}`,
    cost,
    mend: "let this user read /proc/pressure: see the container's masked paths and the security module's log",
  };
}
