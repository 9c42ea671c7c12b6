/**
 * Alert rules over the lines, for Loki's ruler. Bars are those of the report's verdicts.
 *
 * @module
 */
import { count, gauge, greatest, type QueryOptions, share } from "./logql.ts";

/** A rule file's content. */
export interface RuleFile {
  readonly groups: readonly {
    readonly name: string;
    readonly interval: string;
    readonly rules: readonly AlertRule[];
  }[];
}

/** One rule, in Prometheus's words, which Loki's ruler took over. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** How long a runner that was heard of may be silent. */
const SILENCE = "3m";
const REMEMBERED = "15m";

/** The rules. */
export function alertRules(of: QueryOptions): RuleFile {
  const { label, tag } = of;
  const runner = `{{ $labels.${label} }}`;
  const rule = (
    alert: string,
    severity: string,
    expr: string,
    summary: string,
    hold?: string,
  ): AlertRule => ({
    alert,
    expr,
    ...hold !== undefined && { for: hold },
    labels: { severity },
    annotations: { summary: `${runner}: ${summary}` },
  });
  const heard = count(of, REMEMBERED);
  const goodbye = [count(of, REMEMBERED, `${tag} kind=end`), count(of, REMEMBERED, "event=quiet")];
  return {
    groups: [{
      name: "davit-vitals",
      interval: "1m",
      rules: [
        rule(
          "VitalsOomKill",
          "critical",
          `${greatest(of, "oom_kill", "5m")} > 0`,
          "the kernel killed a process for want of memory",
        ),
        rule(
          "VitalsMemoryPressure",
          "warning",
          `${share(of, "mem_psi_full_usec")} > 40`,
          "all tasks waited for memory more than 40 % of a minute",
          "1m",
        ),
        // Lines of tuist's probe have only the average.
        rule(
          "VitalsMemoryPressureAverage",
          "warning",
          `${gauge(of, "mem_psi_full_avg10")} > 40`,
          "all tasks waited for memory, 10 s average above 40 %",
          "1m",
        ),
        rule(
          "VitalsIoPressure",
          "warning",
          `${share(of, "io_psi_full_usec")} > 60`,
          "all tasks waited for I/O more than 60 % of a minute",
          "2m",
        ),
        rule(
          "VitalsGpuFault",
          "critical",
          `${count(of, "5m", "event=kernel", "class=fatal")} > 0`,
          "the kernel reported a fatal GPU error",
        ),
        rule(
          "VitalsSilence",
          "critical",
          [`(${heard} > 0)`, count(of, SILENCE), ...goodbye].join(" unless "),
          `no line for ${SILENCE}, and no goodbye`,
        ),
      ],
    }],
  };
}
