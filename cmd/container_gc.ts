/**
 * `container gc`: finds containers that nobody will ask for any more.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { messageOf } from "../lib/failure.ts";
import { durationOption } from "./container_exec_parts.ts";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, failForUnknown, openSession } from "./container_session.ts";
import type { Context } from "./context.ts";

const DAY_MS = 86_400_000;

const HELP = `
Found are containers of davit whose lease has run out, which were never provisioned to the end, or which a \`run\`
left behind; and not while a command of davit runs inside. Without --apply nothing is removed.

Examples:
  davit container gc --hosts gpu1,gpu2
  davit container gc -f cluster.yaml --older-than 2h --apply

Exit status (error.code): 0; 4 a host is unknown (unknown_hosts); 64 usage.`;

/** Builds the command. */
export function containerGc(context: Context): CommandUnknownOpts {
  const command = new Command("gc")
    .description("Find, and with --apply remove, containers whose time has come")
    .option("--apply", "remove them")
    .option("--all-owners", "look at everybody's, not only at ours")
    .addOption(
      durationOption(
        "--older-than <duration>",
        "what is not ready, or left of a run, counts from this age on",
        [DAY_MS, "24h"],
      ),
    )
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  return command.action(async (_flags: unknown, self: CommandUnknownOpts) => {
    const { gc, renderGc } = await import("../lib/container/gc.ts");
    const { apply, allOwners, olderThan } = self.opts() as unknown as {
      apply?: true;
      allOwners?: true;
      olderThan: number;
    };
    const owner = ownerOf(context.env);
    await using session = await openSession(context, self, await loadFromOptions(context, self, "hosts"));
    const { hosts, loaded: { spec: { runtime, sudo } } } = session;
    const outcomes = await gc(hosts, {
      target: { runtime, sudo },
      owner: allOwners ? undefined : owner,
      user: owner,
      olderThanMs: olderThan,
      isApplied: apply === true,
      nowMs: Date.now(),
      log: context.log,
    });
    const finds = [...outcomes.values()].flatMap((outcome) => outcome.isDone ? outcome.value : []);
    const errors = [...outcomes].flatMap(([host, outcome]) =>
      outcome.isDone ? [] : [{ host, error: outcome.error }]
    );
    for (const { host, error } of errors) context.log.error(messageOf(error), { host });
    context.result({ found: finds }, renderGc(finds, apply === true));
    failForUnknown("look for containers", errors.map(({ host }) => host));
  });
}
