/**
 * `container up`: attaches or creates; the work is in lib/container/up.ts.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { Activity } from "../lib/host/activity.ts";
import { addCreateOptions, loadFromOptions } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import { addUpOptions, upOptions } from "./container_up_parts.ts";
import type { Context } from "./context.ts";

const HELP = `
All hosts are asked first; then there is one plan for all of them, or none:

  all run, and are what the spec says    attach: nothing changes, same id and StartedAt
  stopped or paused, or some of them     started; what was installed stays
  absent everywhere                      created, provisioned, marked ready
  absent on some                         refused (3); --fill makes those
  made from another spec                 refused (3) with the differences; --replace, --ignore-drift
  images differ between hosts            refused (3); --replace
  not provisioned to the end             provisioned again, or refused; --replace
  another's, of the same name            refused (3); --adopt joins it, and never stops or removes it
  a host is unknown                      refused (4), and said why

Examples:
  davit container up -f cluster.yaml
  davit container up -f cvs_cluster.json --dry-run
  davit container up --name dev --image rocm/dev:6.4 --lifetime persistent --hosts gpu1,gpu2
  davit container up -f cluster.yaml --fill

Exit status (error.code):
  0   attached, started or made; with --dry-run: there is a plan
  3   refused: foreign, drift, some_absent, absent, not_running, generations_differ, digests_differ,
      digest_unreadable, image_missing, name_taken, sshd_port_taken
  4   a host is unknown: unreachable, login_refused, sudo, runtime_missing, daemon, permission, timeout, agent,
      connection_lost, unknown
  5   done in part: provisioning_failed, several_failures
  64  usage, per_run, hosts_twice, bad_spec, bad_host, bad_agent, no_job
  65  bad_spec, value_too_long, too_large      66  no_spec, no_agent_file, image_missing, missing_env_file, login_failed
  69  start_failed, no_command, missing_device, pull_failed, image_missing, missing_program, no_sshd, sshd_failed,
      sshd_unreachable, no_hosts, slurm        71  no_keys        73  no_lock_directory
  75  busy: another davit works on it          76  protocol, version_mismatch, unknown_method, bad_params    78  no_agent_file
  128+n  interrupted by signal n, after tidying up`;

/** Builds the command. */
export function containerUp(context: Context): CommandUnknownOpts {
  const command = new Command("up")
    .description("Attach to the containers of a spec, or create them")
    .addHelpText("after", HELP);
  addCreateOptions(command);
  addSessionOptions(command);
  addUpOptions(command);
  command
    .option("--output-dir <dir>", "keep scripts' output and logs there, HOST.setup.log and HOST.log")
    .option("--dry-run", "print the plan, and change nothing");
  return command.action(async (_flags: unknown, self: CommandUnknownOpts) => {
    const { up } = await import("../lib/container/up.ts");
    const { renderUp } = await import("../lib/container/attached.ts");
    await using session = await openSession(context, self, await loadFromOptions(context, self, "create"));
    const { hosts, loaded } = session;
    const { spec } = loaded;
    const activity = new Activity();
    const options = upOptions(context, self, { loaded, verb: "up", activity, signal: context.signal });
    if ((self.opts() as unknown as { dryRun?: true }).dryRun) {
      const { dryRun } = await import("../lib/container/dry_run.ts");
      const { renderPlan, planJson } = await import("../lib/container/plan_text.ts");
      const { refuse } = await import("../lib/container/plan.ts");
      const plan = await dryRun(hosts, spec, options.plan);
      if (plan.kind === "refusal") throw refuse(plan);
      return context.result(planJson(plan), renderPlan(plan));
    }
    using _display = context.progress(activity);
    const result = await up(hosts, spec, options);
    context.result(result, renderUp(result));
  });
}
