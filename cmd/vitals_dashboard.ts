/**
 * `vitals dashboard`: prints what Grafana, Loki and Alloy need to show vitals, or checks it.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure, messageOf } from "../lib/failure.ts";
import type { Context } from "./context.ts";

const HELP = `
Without a flag: a Grafana dashboard over Loki, to be imported (JSON). All of it reads the log lines by \`| logfmt\`, of
this program and of tuist's vitals.sh.

--alerts prints rules for Loki's ruler: OOM kills, pressure, GPU faults, silence without a goodbye.
--alloy prints values for Grafana's k8s-monitoring chart: pods on a tainted pool are silent until the collector
tolerates its taints, and the place where that is written matters.
--check finds tolerations in the wrong place of such a file; with --taint also those that are missing.

Examples:
  davit vitals dashboard --selector '{namespace="arc-runners"}' > dashboard.json
  davit vitals dashboard --alerts --selector '{namespace="arc-runners"}' > rules.yaml
  davit vitals dashboard --alloy --taint example.com/runner=gpu:NoSchedule > values.yaml
  davit vitals dashboard --check values.yaml --taint example.com/runner=gpu:NoSchedule

Exit status (error.code): 0 printed, or nothing found; 64 wrong usage; 65 the file has faults (misplaced) or is not
YAML (not_yaml); 66 there is no such file (absent); 74 it cannot be read (unreadable); 78 bad configuration.`;

/** Builds the command. */
export function vitalsDashboard(context: Context): CommandUnknownOpts {
  return new Command("dashboard")
    .description("Print a Grafana dashboard, alert rules and collector values for vitals in Loki")
    .addOption(new Option("--alerts", "print alert rules").conflicts(["alloy", "check"]))
    .addOption(new Option("--alloy", "print values for the collector of a tainted pool").conflicts("check"))
    .option("--check <file>", "look for faults in such values")
    .option("--selector <matchers>", "log streams to look at", '{namespace=~".+"}')
    .option("--label <name>", "label that names a runner", "pod")
    .option("--tag <word>", "first word of the lines", "RUNNER_VITALS")
    .option("--datasource <uid>", "uid of the Loki data source (default: the dashboard asks)")
    .addOption(
      new Option("--taint <taint>", "taint of the pool's nodes, KEY[=VALUE]:EFFECT; repeatable")
        .argParser((text: string, before: string[] | undefined) => [...before ?? [], text]),
    )
    .option("--collector <name>", "the collector that reads pod logs", "alloy-logs")
    .addOption(
      new Option("--chart <major>", "k8s-monitoring chart").choices(["3", "4"] as const).default(
        "4" as const,
      ),
    )
    .addHelpText("after", HELP)
    .action(
      async ({ alerts, alloy, check, selector, label, tag, datasource, taint = [], collector, chart }) => {
        const { parseTaint } = await import("../lib/vitals/dashboard/taint.ts");
        const taints = taint.map(parseTaint);
        if (check !== undefined) return await checkFile(context, check, taints);
        if (alloy) {
          if (taints.length === 0) {
            throw usage("Cannot write values without --taint: expected a taint of the pool");
          }
          const { alloyValues } = await import("../lib/vitals/dashboard/alloy.ts");
          const values = alloyValues({ taints, collector, chart });
          return context.result({ values }, values);
        }
        const { parseLabel, parseSelector } = await import("../lib/vitals/dashboard/logql.ts");
        const { parseTag } = await import("../lib/vitals/line.ts");
        const options = {
          selector: parseSelector(selector),
          label: parseLabel(label),
          tag: tagOf(parseTag, tag),
        };
        if (alerts) {
          const { alertRules } = await import("../lib/vitals/dashboard/alerts.ts");
          const { stringify } = await import("yaml");
          const rules = alertRules(options);
          return context.result(rules, stringify(rules, { lineWidth: 0 }));
        }
        const { dashboard } = await import("../lib/vitals/dashboard/dashboard.ts");
        const model = dashboard({ ...options, datasource });
        context.result(model, JSON.stringify(model, null, 2));
      },
    );
}

async function checkFile(
  context: Context,
  path: string,
  taints: Parameters<typeof import("../lib/vitals/dashboard/alloy.ts").checkAlloyValues>[1],
): Promise<void> {
  const { checkAlloyValues } = await import("../lib/vitals/dashboard/alloy.ts");
  const faults = checkAlloyValues(await readValues(path), taints);
  if (faults.length === 0) return context.result({ faults }, `${path}: no fault found`);
  const lines = faults.map(({ line, path: place, text }) => `${path}:${line}: ${place}: ${text}`);
  context.result({ faults }, lines.join("\n"));
  throw new Failure(
    "DATAERR",
    `Cannot use "${path}" for a tainted pool: ${faults.length} of its lines are wrong`,
    {
      code: "misplaced",
      hint: "`davit vitals dashboard --alloy --taint …` prints what works",
    },
  );
}

async function readValues(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    const isMissing = error instanceof Deno.errors.NotFound;
    throw new Failure(
      isMissing ? "NOINPUT" : "IOERR",
      `Cannot check "${path}": ${isMissing ? "there is no such file" : messageOf(error)}`,
      { code: isMissing ? "absent" : "unreadable", cause: error },
    );
  }
}

function tagOf(parse: (text: string) => string, text: string): string {
  try {
    return parse(text);
  } catch (error) {
    throw usage(`Cannot use --tag "${text}": ${messageOf(error)}`);
  }
}

function usage(message: string): Failure {
  return new Failure("USAGE", message, { code: "usage" });
}
