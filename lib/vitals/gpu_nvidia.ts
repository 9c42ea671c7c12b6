/**
 * NVIDIA GPUs by nvidia-smi (`nvidia-smi --help-query-gpu`). Its output differs by driver: fields come, go and are
 * renamed, and a field that a driver does not know fails the whole query, so such fields are left out one by one.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { spawnWithoutInput } from "../host/no_input.ts";
import { type GpuFacts, type GpuKey, oneLine } from "./gpu_report.ts";
import type { ReadGpus } from "./gpu_source.ts";

interface Column {
  readonly key: GpuKey;
  /** The field's names, the newest first. */
  readonly names: readonly string[];
  readonly read: (text: string) => string | number | undefined;
}

const column = (key: GpuKey, read: Column["read"], ...names: string[]): Column => ({ key, names, read });

const COLUMNS: readonly Column[] = [
  column("gpu", readNumber, "index"),
  column("uuid", readWord, "uuid"),
  column("bus", readBus, "pci.bus_id"),
  column("util_pct", readNumber, "utilization.gpu"),
  column("mem_util_pct", readNumber, "utilization.memory"),
  column("mem_used_mib", readNumber, "memory.used"),
  column("mem_total_mib", readNumber, "memory.total"),
  column("temp_c", readNumber, "temperature.gpu"),
  column("mem_temp_c", readNumber, "temperature.memory"),
  column("power_w", readNumber, "power.draw"),
  column("power_limit_w", readNumber, "enforced.power.limit"),
  column("sm_mhz", readNumber, "clocks.sm"),
  column("mem_mhz", readNumber, "clocks.mem"),
  column("pstate", readWord, "pstate"),
  column("throttle", readMask, "clocks_event_reasons.active", "clocks_throttle_reasons.active"),
  column("ecc_uncorrected", readNumber, "ecc.errors.uncorrected.volatile.total"),
  column("ecc_corrected", readNumber, "ecc.errors.corrected.volatile.total"),
  column("pcie_gen", readNumber, "pcie.link.gen.current"),
  column("pcie_width", readNumber, "pcie.link.width.current"),
  column("recovery_action", readWord, "gpu_recovery_action"),
];

/** A table of 64 GPUs takes 16 kB. */
const OUTPUT_LIMIT_BYTES = 262_144;
const BUFFER_BYTES = 8_192;
/** Output may stay open after the tool's end, in the hands of its children. */
const DRAIN_MS = 250;
const INVALID_FIELD_REGEXP = /Field "([^"]+)" is not a valid field to query/;

/** Makes the reader. It remembers which fields the driver knows. */
export function nvidiaReader({ tool = "nvidia-smi" }: { tool?: string } = {}): ReadGpus {
  let columns = COLUMNS;
  return async (signal) => {
    for (;;) {
      const query = columns.map(({ names }) => names[0]).join(",");
      const argv = [tool, `--query-gpu=${query}`, "--format=csv,noheader,nounits"];
      const answer = await runTool(argv, signal);
      if (answer === "missing") return { state: "no_tool", detail: tool, gpus: [] };
      const fewer = withoutField(columns, INVALID_FIELD_REGEXP.exec(answer.text)?.[1]);
      if (fewer === undefined) return readAnswer(columns, answer);
      columns = fewer;
      if (signal.aborted) return { state: "error", detail: "fields are being found out", gpus: [] };
    }
  };
}

/** The columns with another name for `field`, or without it; undefined when there is no such field. */
function withoutField(columns: readonly Column[], field: string | undefined): readonly Column[] | undefined {
  if (field === undefined || !columns.some(({ names }) => names[0] === field)) return undefined;
  return columns.flatMap((item) => {
    if (item.names[0] !== field) return [item];
    return item.names.length > 1 ? [{ ...item, names: item.names.slice(1) }] : [];
  });
}

interface Answer {
  readonly code: number;
  /** stdout, then stderr. */
  readonly text: string;
  readonly isCut: boolean;
}

function readAnswer(columns: readonly Column[], { code, text, isCut }: Answer) {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const gpus: GpuFacts[] = [];
  let other: string | undefined;
  for (const line of lines) {
    const facts = parseRow(columns, line);
    if (facts === undefined) other ??= line;
    else gpus.push(facts);
  }
  if (code === 0 && other === undefined && !isCut && gpus.length > 0) return { state: "ok", gpus } as const;
  const said = other === undefined ? isCut ? "too much output" : "no GPU" : oneLine(other);
  return { state: "error", detail: code === 0 ? said : `status ${code}: ${said}`, gpus } as const;
}

function parseRow(columns: readonly Column[], line: string): GpuFacts | undefined {
  const cells = line.split(/\s*,\s*/);
  if (cells.length !== columns.length) return undefined;
  const facts: GpuFacts = {};
  for (const [index, { key, read }] of columns.entries()) {
    const value = read(cells[index]!);
    if (value !== undefined) facts[key] = value;
  }
  // Without a number it cannot be told from another; the rest may well be absent.
  return facts.gpu === undefined ? undefined : { ...facts, vendor: "nvidia" };
}

function readNumber(text: string): number | undefined {
  return /^-?\d{1,15}(?:\.\d{1,6})?$/.test(text) ? Number(text) : undefined;
}

/** Words; "[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[GPU is lost]" are none. */
function readWord(text: string): string | undefined {
  return /^[\w.:-][\w .:/-]{0,79}$/.test(text) && text !== "N/A" ? text : undefined;
}

/** As the kernel and sysfs write it: 00000000:9B:00.0 is 0000:9b:00.0. */
function readBus(text: string): string | undefined {
  const match = /^(?:0000)?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d)$/i.exec(text);
  return match ? match[1]!.toLowerCase() : readWord(text)?.toLowerCase();
}

/** A bit mask without leading zeros. */
function readMask(text: string): string | undefined {
  const digits = /^0x0*([0-9a-f]{1,16})$/i.exec(text)?.[1];
  return digits && `0x${digits.toLowerCase()}`;
}

/** Runs the tool to its end, which an abort brings about; settles when the process is gone. */
async function runTool(argv: readonly string[], signal: AbortSignal): Promise<Answer | "missing"> {
  let child: Deno.ChildProcess;
  try {
    child = spawnWithoutInput(argv[0]!, {
      args: argv.slice(1),
      env: { LC_ALL: "C" },
      stdout: "piped",
      stderr: "piped",
    });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "missing";
    throw error;
  }
  // In the helper's process group, by which the parent kills what is left when the helper is killed.
  const kill = () => killChild(child);
  const out = collect(child.stdout, kill);
  const err = collect(child.stderr, kill);
  signal.addEventListener("abort", kill);
  if (signal.aborted) kill();
  try {
    const code = await endCode(child);
    const timer = setTimeout(() => {
      out.cancel();
      err.cancel();
    }, DRAIN_MS);
    await Promise.all([out.ended, err.ended]);
    clearTimeout(timer);
    return { code, text: `${out.text()}\n${err.text()}`, isCut: out.isCut() || err.isCut() };
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

/** Deno throws for signals that it has no name for. */
async function endCode(child: Deno.ChildProcess): Promise<number> {
  try {
    return (await child.status).code;
  } catch (error) {
    return 128 + Number(/Invalid signal: (\d+)/.exec(String(error))?.[1] ?? 0);
  }
}

function killChild(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended
  }
}

/** Keeps the beginning of a stream; `onTooMuch` is called when there is more than that. */
function collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>, onTooMuch: () => void) {
  // A plain reader takes 64 KiB anew for each read, which a process that is mostly idle collects late.
  const reader = stream.getReader({ mode: "byob" });
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  async function readAll(): Promise<void> {
    let buffer = new ArrayBuffer(BUFFER_BYTES);
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(buffer));
      if (done || value === undefined) return;
      bytes += value.length;
      if (bytes > OUTPUT_LIMIT_BYTES) {
        onTooMuch();
        return await reader.cancel();
      }
      text += decoder.decode(value, { stream: true });
      buffer = value.buffer;
    }
  }
  return {
    text: () => text,
    isCut: () => bytes > OUTPUT_LIMIT_BYTES,
    ended: readAll(),
    cancel: () => void reader.cancel(),
  };
}
