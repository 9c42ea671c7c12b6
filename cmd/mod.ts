/**
 * The command tree, nothing else: commands declare themselves in their own files and do their work in lib.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { CommanderError } from "commander";
import { VERSION, versionFacts } from "../lib/version.ts";
import { completions } from "./completions.ts";
import { configShow } from "./config_show.ts";
import { containerAgent } from "./container_agent.ts";
import { containerAttach } from "./container_attach.ts";
import { containerConvert } from "./container_convert.ts";
import { containerCp } from "./container_cp.ts";
import { containerDown } from "./container_down.ts";
import { containerExec } from "./container_exec.ts";
import { containerGc } from "./container_gc.ts";
import { containerLogs } from "./container_logs.ts";
import { containerPlan } from "./container_plan.ts";
import { containerRun } from "./container_run.ts";
import { containerStatus } from "./container_status.ts";
import { containerUp } from "./container_up.ts";
import type { Context } from "./context.ts";
import { doctor } from "./doctor.ts";
import { hookExec } from "./hook_exec.ts";
import { hookKill } from "./hook_kill.ts";
import { hookLogs } from "./hook_logs.ts";
import { hookServe } from "./hook_serve.ts";
import { hookStatus } from "./hook_status.ts";
import { hookWrap } from "./hook_wrap.ts";
import { imageCheck } from "./image_check.ts";
import { imageImport } from "./image_import.ts";
import { imagePath } from "./image_path.ts";
import { settingOption } from "./options.ts";
import { selfCommand } from "./self.ts";
import { vitalsGpuHelper } from "./vitals_gpu_helper.ts";
import { vitalsDashboard } from "./vitals_dashboard.ts";
import { vitalsOnce } from "./vitals_once.ts";
import { vitalsReport } from "./vitals_report.ts";
import { vitalsRun } from "./vitals_run.ts";

const ABOUT = `The small crane for GPU hosts: plumbing that jobs, runners and Slurm steps get
wrong again and again, done right once.

  image import   one squashfs file from a container image, however many jobs ask
                 for it at once: one imports, the others wait, and nobody ever
                 sees half a file
  image check    is this squashfs file whole?
  hook serve     runs a job's steps in its container, and survives what they do to it
  hook exec      one step there, as if it ran here
  doctor         what of this machine works for davit, and how to mend the rest
  container up   the same container on every host: attached to where it runs, made
                 where there is none, never wiped by mistake
  vitals run     a probe whose last line explains the death, alone or as an ENTRYPOINT
  vitals once    memory, CPU, pressure, disks and limits of this machine and cgroup
  vitals report  why a job died, from the vitals in its log`;

const EXAMPLES = `
Examples:
  davit image import docker://nvcr.io/nvidia/pytorch:25.01-py3 --output /shared/pytorch.sqsh
  davit image check /shared/pytorch.sqsh --deep
  davit container up -f cluster.yaml
  davit vitals run -- ./run.sh
  davit vitals report runner.log
  davit doctor --dir /shared/images
  davit config show

Settings come from flags, then DAVIT_* variables, then ~/.config/davit/config.yaml, then
/etc/davit/config.yaml. Results go to stdout, everything else to stderr.

Exit status: 0 done; 1 found what was looked for; 3 refused, as it would destroy something; 4 a host is
unknown; 5 done in part; 64 wrong usage; 65 bad data; 66 missing input;
69 unavailable; 70 a bug in davit; 73 cannot create; 74 input/output error; 75 try again later;
76 the other side broke the protocol; 77 no permission; 78 bad configuration; 125 to 127 the command
did not start; 128+n ended by signal n. Each command's help names its own.`;

/** Builds the tree. */
export function program(context: Context): CommandUnknownOpts {
  const root = new Command("davit")
    .description(ABOUT)
    .usage("[options] <command>")
    .addHelpText("after", EXAMPLES)
    .option("-V, --version", "print the version")
    .on("option:version", () => {
      context.result(versionFacts(), `davit ${VERSION}`);
      throw new CommanderError(0, "commander.version", VERSION);
    });
  root.addCommand(group("image", "Import container images as squashfs files, and check such files", [
    imageImport(context),
    imageCheck(context),
    imagePath(context),
  ]));
  root.addCommand(imageImport(context).description("Same as `davit image import`"));
  root.addCommand(group("hook", "Run a job's steps in its container, whatever they do to it", [
    hookServe(context),
    hookExec(context),
    hookStatus(context),
    hookLogs(context),
    hookKill(context),
    hookWrap(context),
  ]));
  const vitals = group("vitals", "Watch this machine, so that a job's death can be explained", [
    vitalsRun(context),
    vitalsOnce(context),
    vitalsReport(context),
    vitalsDashboard(context),
  ]);
  vitals.addCommand(vitalsGpuHelper(context), { hidden: true });
  root.addCommand(vitals);
  const container = group("container", "Persistent containers on many hosts, never wiped by mistake", [
    containerPlan(context),
    containerUp(context),
    containerRun(context),
    containerAttach(context),
    containerExec(context),
    containerCp(context),
    containerStatus(context),
    containerLogs(context),
    containerDown(context),
    containerGc(context),
    containerConvert(context),
  ]);
  container.addCommand(containerAgent(context), { hidden: true });
  root.addCommand(container);
  root.addCommand(group("config", "Look at davit's settings", [configShow(context)]));
  root.addCommand(selfCommand(context));
  root.addCommand(doctor(context));
  root.addCommand(completions(context, root));
  finish(root);
  root.hook("preAction", (_, command) => context.prepare(command));
  return root;
}

function group(name: string, description: string, members: CommandUnknownOpts[]): CommandUnknownOpts {
  const command = new Command(name).description(description);
  for (const member of members) command.addCommand(member);
  return command;
}

/** What every command has in common; errors are thrown to main, which prints them once. */
function finish(command: CommandUnknownOpts): void {
  command
    .exitOverride()
    .configureOutput({ outputError() {} })
    .showSuggestionAfterError(true)
    .helpCommand(false)
    .addOption(new Option("--json", "print the result, errors and diagnostics as JSON"))
    .addOption(settingOption("log_level"));
  for (const child of command.commands) finish(child);
}
