/**
 * Values of Grafana's k8s-monitoring chart that let its log collector run on a tainted runner pool. Its operator
 * renders a collector's `controller:` into the pod; tolerations anywhere else in a collector end up in a part of the
 * Alloy resource that it does not look at, without a word (k8s-monitoring-helm issue 2471; charts 2 to 4).
 *
 * @module
 */
import { type Document, isMap, LineCounter, parseAllDocuments, type Scalar, stringify } from "yaml";
import { Failure } from "../../failure.ts";
import { type Taint, tolerates, tolerationOf } from "./taint.ts";

/** What to write. */
export interface AlloyOptions {
  readonly taints: readonly Taint[];
  /** Name of the collector that reads pod logs. */
  readonly collector: string;
  /** Chart 4 has its collectors under `collectors:`; 2 and 3 have them at the top. */
  readonly chart: "3" | "4";
}

/** The values, as YAML. */
export function alloyValues({ taints, collector, chart }: AlloyOptions): string {
  const controller = { type: "daemonset", tolerations: taints.map(tolerationOf) };
  const values = chart === "4"
    ? { collectors: { [collector]: { presets: ["filesystem-log-reader"], controller } } }
    : { [collector]: { enabled: true, controller } };
  const head = [
    `Lets the log collector run on nodes with ${taints.map(written).join(", ")}.`,
    "Tolerations belong under controller:. Directly under the collector they render to a place that the operator",
    "ignores, and no line of these nodes' pods reaches Loki. `davit vitals dashboard --check FILE` finds that.",
  ];
  return `${head.map((line) => `# ${line}\n`).join("")}${stringify(values)}`;
}

function written({ key, value, effect }: Taint): string {
  return `${key}${value === undefined ? "" : `=${value}`}:${effect}`;
}

/** Something in a values file that will not work. */
export interface AlloyFault {
  readonly line: number;
  readonly path: string;
  readonly text: string;
}

type Path = readonly string[];
type Tree = Readonly<Record<string, unknown>>;

/** Looks for tolerations in wrong places, and for taints that nothing tolerates. Throws a Failure when not YAML. */
export function checkAlloyValues(text: string, taints: readonly Taint[]): AlloyFault[] {
  const lineCounter = new LineCounter();
  const faults: AlloyFault[] = [];
  for (const document of parseAllDocuments(text, { lineCounter })) {
    const [error] = document.errors;
    if (error !== undefined) {
      throw new Failure("DATAERR", `Cannot read the values: ${error.message.split("\n")[0]}`, {
        code: "not_yaml",
      });
    }
    const lineOf = (path: Path) => lineCounter.linePos(keyOffset(document, path)).line;
    const tree: unknown = document.toJS();
    for (const { path, right } of misplaced(tree)) {
      const text = `tolerations are ignored here, put them under ${right.join(".")}`;
      faults.push({ line: lineOf(path), path: path.join("."), text });
    }
    const collectors = collectorsIn(tree);
    for (const taint of taints) {
      const untolerating = collectors.filter(({ tree: collector }) =>
        readsLogs(collector.name, collector.values)
      )
        .filter(({ tree: { values } }) => !toleratedBy(values, taint) && !toleratedByCommon(tree, taint));
      for (const { path } of untolerating) {
        faults.push({
          line: lineOf(path),
          path: path.join("."),
          text: `does not tolerate ${written(taint)}`,
        });
      }
    }
  }
  return faults.sort((a, b) => a.line - b.line);
}

/** Where the last key of a path is written. */
function keyOffset(document: Document.Parsed, path: Path): number {
  const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents;
  const pair = isMap<Scalar, unknown>(parent)
    ? parent.items.find(({ key }) => key.value === path.at(-1))
    : undefined;
  return pair?.key.range?.[0] ?? 0;
}

interface Collector {
  readonly path: Path;
  readonly tree: { readonly name: string; readonly values: Tree };
}

/** Collectors at any depth: the chart may be a dependency, its values below its name. */
function collectorsIn(tree: unknown, path: Path = []): Collector[] {
  if (!isTree(tree)) return [];
  return Object.entries(tree).flatMap(([name, values]) => {
    const here = [...path, name];
    if (!isTree(values)) return [];
    // `alloy` inside of a collector is its configuration, and the operator has tolerations of its own.
    if (name === "alloy-operator") return [];
    const isCollector = path.at(-1) === "collectors" || /^alloy-[a-z0-9-]+$/.test(name);
    return isCollector ? [{ path: here, tree: { name, values } }] : collectorsIn(values, here);
  });
}

/** Tolerations that the operator will not see, and where it would. */
function misplaced(tree: unknown): { path: Path; right: Path }[] {
  const places = collectorsIn(tree).flatMap(({ path, tree: { values } }) => wrongIn(values, path));
  return [
    ...places,
    ...commonOf(tree).flatMap(({ path, values }) => wrongIn(values, path)),
    ...resources(tree),
  ];
}

function wrongIn(values: Tree, path: Path): { path: Path; right: Path }[] {
  const right = [...path, "controller", "tolerations"];
  const found = isWritten(values.tolerations) ? [{ path: [...path, "tolerations"], right }] : [];
  const inner = values.alloy;
  if (isTree(inner) && isWritten(inner.tolerations)) {
    found.push({ path: [...path, "alloy", "tolerations"], right });
  }
  return found;
}

/** `collectorCommon.alloy`: what all collectors have. */
function commonOf(tree: unknown, path: Path = []): { path: Path; values: Tree }[] {
  if (!isTree(tree)) return [];
  return Object.entries(tree).flatMap(([name, values]) => {
    if (name !== "collectorCommon") return commonOf(values, [...path, name]);
    return isTree(values) && isTree(values.alloy)
      ? [{ path: [...path, name, "alloy"], values: values.alloy }]
      : [];
  });
}

/** An Alloy resource itself, as the operator reads it. */
function resources(tree: unknown): { path: Path; right: Path }[] {
  if (!isTree(tree) || tree.kind !== "Alloy" || !isTree(tree.spec)) return [];
  return wrongIn(tree.spec, ["spec"]);
}

function readsLogs(name: string, values: Tree): boolean {
  const presets = Array.isArray(values.presets) ? values.presets : [];
  return name === "alloy-logs" || presets.includes("filesystem-log-reader");
}

function toleratedBy({ controller }: Tree, taint: Taint): boolean {
  const list = isTree(controller) ? controller.tolerations : undefined;
  return Array.isArray(list) && list.some((one) => tolerates(one, taint));
}

function toleratedByCommon(tree: unknown, taint: Taint): boolean {
  return commonOf(tree).some(({ values }) => toleratedBy(values, taint));
}

function isWritten(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
