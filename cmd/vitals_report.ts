/**
 * `vitals report`: why a job died, from the logs it left.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure, messageOf } from "../lib/failure.ts";
import type { Context } from "./context.ts";

const HELP = `
Reads lines of \`davit vitals run\` and of tuist's vitals.sh, bare or as CRI (/var/log/pods), Docker's json-file, an
export of Loki (logcli jsonl, query API, Grafana JSON or CSV), GitHub's job log, or a --ring file left it. "-" is
stdin. Logs of any size, in any order, with foreign lines between. Several logs are taken for those of one node. A job
that writes to the same log can write such lines too; to a --ring file of a host's probe it cannot.

--job-exit and --ended say what the log may not know. --ended is when the job ended, not when somebody noticed; what
the probe of a host says after that is left out.

CLASS is what the first line has in parentheses (oom_own, gpu_fault, …), or a group: oom (a kill that the job did not
survive), any (all but clean_end and oom_other). It is compared with the verdict and with what was also seen.

Examples:
  davit vitals report runner.log
  kubectl logs runner-x7 | davit vitals report - --job-exit 137 --ended 2026-11-21T09:14:03Z
  davit vitals report /var/log/pods/*/runner/*.log --html report.html
  zcat 0.log.gz | davit vitals report - --fail-on oom,gpu_fault --json | jq -r '.logs[].class'

Exit status (error.code): 0 reported; 1 a --fail-on class was found (found); 64 wrong usage; 65 not readable as a log
(compressed_log, too_many_writers); 66 there is no such log (absent); 73 the --html file cannot be made (html);
74 a log cannot be read (unreadable); 78 bad configuration.`;

/** Not of sysexits.h: as grep and diff have it, an answer and not a fault. */
const EXIT_FOUND = 1;

/** Builds the command. */
export function vitalsReport(context: Context): CommandUnknownOpts {
  return new Command("report")
    .description("Tell why a job died, from the vitals in its log")
    .argument("<logs...>", "log files; - is stdin")
    .addOption(
      new Option("--job-exit <status>", "how the job ended: its exit status, 128+n for signal n")
        .argParser(parseStatus),
    )
    .addOption(new Option("--ended <time>", "when the job ended, ISO 8601").argParser(parseTime))
    .addOption(
      new Option("--fail-on <class>", "exit with 1 if this was found; repeatable, or with commas")
        .argParser((text: string, before: string[] | undefined) => [...before ?? [], ...text.split(",")]),
    )
    .option("--html <file>", "write a page with charts to this file, nothing else needed to see it")
    .option("--tag <word>", "first word of the lines", "RUNNER_VITALS")
    .addHelpText("after", HELP)
    .action(async (paths, { jobExit, ended, failOn = [], html, tag: tagText }) => {
      const { judgeLogs, matchedClasses, parseClasses, readLogFile } = await import(
        "../lib/vitals/report/report.ts"
      );
      const { formatReport, reportJson } = await import("../lib/vitals/report/text.ts");
      const { parseTag } = await import("../lib/vitals/line.ts");
      const wanted = parseClasses(failOn);
      const tag = tagOf(parseTag, tagText);
      if (html === "") throw usage("--html", html, "a file");
      const histories = [];
      for (const path of paths) {
        histories.push(
          ...await readLogFile(path, { tag, stdin: Deno.stdin, signal: context.signal }),
        );
      }
      const logs = judgeLogs(histories, { jobExit, endedMs: ended });
      context.result({ logs: logs.map(reportJson) }, logs.map(formatReport).join("\n\n"));
      if (html !== undefined) {
        const { writeHtml } = await import("../lib/vitals/report/html.ts");
        await writeHtml(html, logs);
      }
      const found = [...new Set(logs.flatMap((log) => matchedClasses(log, wanted)))];
      if (found.length === 0) return;
      throw new Failure(EXIT_FOUND, `Found what --fail-on asks for: ${found.join(", ")}`, { code: "found" });
    });
}

function tagOf(parse: (text: string) => string, text: string): string {
  try {
    return parse(text);
  } catch (error) {
    throw new Failure("USAGE", `Cannot use --tag: ${messageOf(error)}`, { code: "usage", cause: error });
  }
}

function parseStatus(text: string): number {
  const status = /^\d{1,3}$/.test(text) ? Number(text) : NaN;
  if (!(status <= 255)) throw usage("--job-exit", text, "a number from 0 to 255");
  return status;
}

function parseTime(text: string): number {
  const ms = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(ms)) throw usage("--ended", text, "a time such as 2026-11-21T09:14:03Z");
  return ms;
}

function usage(flag: string, text: string, wanted: string): Failure {
  return new Failure("USAGE", `Cannot use ${flag} "${text}": expected ${wanted}`, { code: "usage" });
}
