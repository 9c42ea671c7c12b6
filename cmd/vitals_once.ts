/**
 * `vitals once`: what `vitals run` would see now.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "./context.ts";
import { addSettings } from "./options.ts";

const HELP = `
The facts come first, then the values, then what cannot be known here: on cgroup v1 that is \`oom\`, for example. The
names are those of the lines of \`davit vitals run\`. It takes a quarter of a second: values that are counted over
time are counted over that.

Examples:
  davit vitals once
  davit vitals once --json | jq .sample.mem_current
  davit vitals once --cgroup /sys/fs/cgroup/kubepods.slice/kubepods-pod1234.slice --workdir /work

Exit status (error.code): 0 done; 64 wrong usage; 66 there is no such cgroup or directory (no_cgroup, no_workdir);
78 bad configuration.`;

/** Builds the command. */
export function vitalsOnce(context: Context): CommandUnknownOpts {
  const command = new Command("once")
    .description("Look once at memory, CPU, pressure, disks and limits of this machine and cgroup")
    .addHelpText("after", HELP);
  addSettings(command, ["vitals.cgroup", "vitals.workdir"]);
  return command.action(async (_options, self) => {
    const settings = context.settings(self);
    const { describeOnce, readOnce } = await import("../lib/vitals/once.ts");
    const result = await readOnce({
      env: context.env,
      cgroup: settings.get("vitals.cgroup"),
      workdir: absolute(settings.get("vitals.workdir") ?? "."),
      signal: context.signal,
    });
    const { facts, sample, absent, lost } = result;
    context.result({ facts, sample: Object.fromEntries(sample), absent, lost }, describeOnce(result));
  });
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}
