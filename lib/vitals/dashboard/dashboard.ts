/**
 * A Grafana dashboard over Loki, as JSON to import: nothing but the log lines is needed.
 *
 * @module
 */
import { gauge, gpuGauge, lines, type QueryOptions, rate, share } from "./logql.ts";

/** Where the dashboard looks. */
export interface DashboardOptions extends QueryOptions {
  /** Uid of the Loki data source; without it the dashboard asks. */
  readonly datasource?: string | undefined;
}

type Query = readonly [legend: string, expression: string];

interface PanelSpec {
  readonly title: string;
  readonly unit: string;
  readonly max?: number;
  readonly queries: (options: QueryOptions) => readonly Query[];
}

const PANELS: readonly PanelSpec[] = [
  {
    title: "Memory of the cgroup",
    unit: "bytes",
    queries: (of) => [["used", gauge(of, "mem_current")], ["limit", gauge(of, "mem_max")], [
      "anonymous",
      gauge(of, "mem_anon_bytes"),
    ]],
  },
  {
    title: "Memory the machine has left",
    unit: "kbytes",
    queries: (of) => [["available", gauge(of, "vm_mem_avail_kb")]],
  },
  {
    title: "Memory pressure",
    unit: "percent",
    max: 100,
    queries: (
      of,
    ) => [["all waited", share(of, "mem_psi_full_usec")], ["some waited", share(of, "mem_psi_some_usec")], [
      "all, 10 s average",
      gauge(of, "mem_psi_full_avg10"),
    ]],
  },
  {
    title: "I/O pressure",
    unit: "percent",
    max: 100,
    queries: (of) => [["all waited", share(of, "io_psi_full_usec")], [
      "some, 10 s average",
      gauge(of, "io_psi_some_avg10"),
    ]],
  },
  {
    title: "CPU",
    unit: "percent",
    queries: (of) => [["busy", gauge(of, "cpu_busy_pct")], ["steal", gauge(of, "cpu_steal_pct")], [
      "throttled",
      share(of, "cpu_throttled_usec"),
    ], ["some waited, 10 s average", gauge(of, "cpu_psi_some_avg10")]],
  },
  {
    title: "Room on disks",
    unit: "bytes",
    queries: (of) => [["/", gauge(of, "disk_root_avail_bytes")], [
      "working directory",
      gauge(of, "disk_work_avail_bytes"),
    ], ["/dev/shm", gauge(of, "shm_avail_bytes")]],
  },
  {
    title: "Disk and network",
    unit: "Bps",
    queries: (of) => [["read", rate(of, "io_read_bytes")], ["written", rate(of, "io_write_bytes")], [
      "received",
      rate(of, "net_rx_bytes"),
    ], ["sent", rate(of, "net_tx_bytes")]],
  },
  { title: "Tasks", unit: "short", queries: (of) => [["tasks", gauge(of, "pids")]] },
  {
    title: "GPU use",
    unit: "percent",
    max: 100,
    queries: (of) => [["GPU {{gpu}}", gpuGauge(of, "util_pct")]],
  },
  { title: "GPU memory", unit: "mbytes", queries: (of) => [["GPU {{gpu}}", gpuGauge(of, "mem_used_mib")]] },
  { title: "GPU temperature", unit: "celsius", queries: (of) => [["GPU {{gpu}}", gpuGauge(of, "temp_c")]] },
  { title: "GPU power", unit: "watt", queries: (of) => [["GPU {{gpu}}", gpuGauge(of, "power_w")]] },
];

const COLUMNS = 24;
const WIDTH = 12;
const HEIGHT = 8;
const EVENTS_HEIGHT = 10;

/** The dashboard's JSON model, as Grafana imports it. */
export function dashboard({ datasource, ...given }: DashboardOptions): Record<string, unknown> {
  const source = { type: "loki", uid: datasource ?? "${datasource}" };
  const of: QueryOptions = { ...given, selector: `${given.selector}, ${given.label}=~"$runner"` };
  const panels = PANELS.map((panel, index) => ({
    id: index + 2,
    type: "timeseries",
    title: panel.title,
    datasource: source,
    gridPos: {
      x: index * WIDTH % COLUMNS,
      y: EVENTS_HEIGHT + Math.floor(index * WIDTH / COLUMNS) * HEIGHT,
      w: WIDTH,
      h: HEIGHT,
    },
    fieldConfig: {
      defaults: { unit: panel.unit, min: 0, ...panel.max !== undefined && { max: panel.max } },
      overrides: [],
    },
    targets: panel.queries(of).map(([legend, expr], at) => ({
      refId: String.fromCharCode(65 + at),
      datasource: source,
      expr,
      legendFormat: `{{${of.label}}} ${legend}`,
      queryType: "range",
    })),
  }));
  return {
    title: "Runner vitals",
    uid: "davit-vitals",
    tags: ["davit"],
    schemaVersion: 39,
    editable: true,
    time: { from: "now-1h", to: "now" },
    refresh: "",
    templating: {
      list: [...datasource === undefined ? [SOURCE_VARIABLE] : [], runnerVariable(given, source)],
    },
    annotations: { list: [oomAnnotation(of, source)] },
    panels: [eventsPanel(of, source), ...panels],
  };
}

const SOURCE_VARIABLE = { name: "datasource", label: "Loki", type: "datasource", query: "loki" };

function runnerVariable({ selector, label }: QueryOptions, source: unknown): unknown {
  return {
    name: "runner",
    label: "Runner",
    type: "query",
    datasource: source,
    query: { type: 1, label, stream: `{${selector}}` },
    multi: true,
    includeAll: true,
    allValue: ".+",
    current: { text: "All", value: "$__all" },
    refresh: 2,
    sort: 1,
  };
}

function oomAnnotation(of: QueryOptions, source: unknown): unknown {
  return {
    name: "OOM kills",
    datasource: source,
    enable: true,
    iconColor: "red",
    expr: `${lines(of, "event=oom")} != "old=true"`,
  };
}

function eventsPanel(of: QueryOptions, source: unknown): unknown {
  return {
    id: 1,
    type: "logs",
    title: "Starts, events, ends",
    datasource: source,
    gridPos: { x: 0, y: 0, w: COLUMNS, h: EVENTS_HEIGHT },
    options: { showTime: true, wrapLogMessage: true, sortOrder: "Descending", enableLogDetails: true },
    targets: [{
      refId: "A",
      datasource: source,
      expr: `${lines(of)} |~ "kind=(start|event|end)|kmsg[.]oom" != "old=true"`,
      queryType: "range",
    }],
  };
}
