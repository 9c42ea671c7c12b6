/**
 * Shows what a long piece of work is doing: bars on a terminal; otherwise a log line at once (but not for work
 * that is done in a blink), at 5, 15 and 30 seconds and then every minute, so that a log stays readable and a
 * reader still sees life.
 *
 * @module
 */
import { type Activity, type Bar } from "../lib/host/activity.ts";
import { escapeControls } from "../lib/host/logfmt.ts";
import { formatBytes, formatDuration } from "../lib/units.ts";
import type { Output } from "./output.ts";

const REDRAW_MS = 100;
const TICK_MS = 250;
const LINES_AT_SECONDS = [0.25, 5, 15, 30];
const BAR_WIDTH = 24;

/** Shows `activity` on `output` until disposed. */
export function showProgress(activity: Activity, output: Output): Disposable {
  return output.isTerminal && !output.json ? showBars(activity, output) : writeLines(activity, output);
}

/** Seconds at which the n-th line is due, n from 0. */
export function lineDueAt(n: number): number {
  return LINES_AT_SECONDS[n] ?? 60 * (n - LINES_AT_SECONDS.length + 1);
}

function writeLines(activity: Activity, output: Output): Disposable {
  const begun = performance.now();
  let next = 0;
  function tick() {
    const elapsed = (performance.now() - begun) / 1000;
    if (elapsed < lineDueAt(next)) return;
    while (elapsed >= lineDueAt(next)) next++;
    output.log.info(activity.note ?? `working: ${activity.phase}`, {
      phase: activity.phase,
      elapsed_s: Math.round(elapsed),
      attempt: activity.attempt > 1 ? activity.attempt : undefined,
      done_bytes: activity.doneBytes > 0 ? activity.doneBytes : undefined,
      total_bytes: activity.totalBytes,
    });
  }
  const timer = setInterval(tick, TICK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function showBars(activity: Activity, output: Output): Disposable {
  const begun = performance.now();
  let drawn = 0;
  function erase() {
    const before = output.beforeWrite;
    output.beforeWrite = undefined;
    if (drawn > 0) output.write(`\x1b[${drawn}A\x1b[J`);
    drawn = 0;
    output.beforeWrite = before;
  }
  function draw() {
    const { columns, rows } = terminalSize();
    const lines = render(activity, performance.now() - begun, Math.max(1, rows - 2))
      .map((line) => line.slice(0, columns - 1));
    erase();
    const before = output.beforeWrite;
    output.beforeWrite = undefined;
    output.write(lines.map((line) => `${line}\n`).join(""));
    output.beforeWrite = before;
    drawn = lines.length;
  }
  output.beforeWrite = erase;
  const timer = setInterval(draw, REDRAW_MS);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      erase();
      output.beforeWrite = undefined;
    },
  };
}

function terminalSize(): { columns: number; rows: number } {
  try {
    const { columns, rows } = Deno.consoleSize();
    if (columns > 0 && rows > 0) return { columns, rows }; // 0 of 0 is a terminal that nobody gave a size
  } catch {
    // Standard input and output are redirected, only stderr is a terminal.
  }
  return { columns: 80, rows: 24 };
}

/** The lines of the display, at most `limit`: a headline, then the bars that still move. */
export function render(activity: Activity, elapsedMs: number, limit: number): string[] {
  const retry = activity.attempt > 1 ? `, try ${activity.attempt}` : "";
  const headline = activity.note ??
    `${activity.phase}${amount(activity.doneBytes, activity.totalBytes)}${retry}`;
  const moving = [...activity.bars.values()].filter(({ done, total }) => total === undefined || done < total);
  return [
    `${formatDuration(elapsedMs)}  ${escapeControls(headline)}`,
    ...moving.slice(0, limit - 1).map(renderBar),
  ];
}

function renderBar({ label, done, total }: Bar): string {
  const filled = total ? Math.min(BAR_WIDTH, Math.floor(BAR_WIDTH * done / total)) : 0;
  return `  ${escapeControls(label).padEnd(20)} [${"#".repeat(filled).padEnd(BAR_WIDTH, "-")}]${
    amount(done, total)
  }`;
}

function amount(done: number, total: number | undefined): string {
  if (done === 0 && total === undefined) return "";
  return `  ${formatBytes(done)}${total === undefined ? "" : ` of ${formatBytes(total)}`}`;
}
