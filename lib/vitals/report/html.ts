/**
 * The report as one HTML file that needs nothing else: charts are drawn by uPlot, which is in the file. Nothing is
 * fetched, and only the scripts whose hashes the page's policy names may run. All text of a log is escaped.
 *
 * @module
 */
import plotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import plotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import { Failure, messageOf } from "../../failure.ts";
import { VERSION } from "../../version.ts";
import pageStyle from "./assets/report.css" with { type: "text" };
import pageScript from "./assets/report.js" with { type: "text" };
import type { Evidence } from "./evidence.ts";
import type { JudgedLog } from "./report.ts";
import { type Drawing, drawingOf, type Mark } from "./series.ts";
import { formatReport, shown, TITLES } from "./text.ts";
import type { Finding } from "./types.ts";

/** Writes the page to `path`; a reader of a file never sees half of it. */
export async function writeHtml(path: string, logs: readonly JudgedLog[]): Promise<void> {
  const page = await htmlReport(logs);
  try {
    // A rename would put a file in the place of a device, a pipe or a link: of /dev/stdout, for root.
    const found = await Deno.lstat(path).catch(() => undefined); // what is not there is made
    if (found === undefined || found.isFile) await replace(path, page);
    else await Deno.writeTextFile(path, page);
  } catch (error) {
    const what = messageOf(error).replace(/(\(os error \d+\)): .*$/s, "$1"); // the temporary file is our affair
    throw new Failure("CANTCREAT", `Cannot write "${path}": ${what}`, { code: "html", cause: error });
  }
}

async function replace(path: string, page: string): Promise<void> {
  const unfinished = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.writeTextFile(unfinished, page, { createNew: true });
    await Deno.rename(unfinished, path);
  } catch (error) {
    await Deno.remove(unfinished).catch(() => {}); // it may never have been made
    throw error;
  }
}

/** The page. */
export async function htmlReport(logs: readonly JudgedLog[]): Promise<string> {
  const drawings = logs.map(({ history, run }): Drawing =>
    run === undefined ? { panels: [], marks: [], gaps: [] } : drawingOf(history, run)
  );
  const styles = [plotStyle, pageStyle];
  const policy = [
    "default-src 'none'",
    `script-src ${(await Promise.all([plotScript, pageScript].map(hashOf))).join(" ")}`,
    `style-src ${(await Promise.all(styles.map(hashOf))).join(" ")}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(titleOf(logs))}</title>
${styles.map((text) => `<style>${text}</style>`).join("\n")}
</head>
<body>
<h1>davit vitals report</h1>
${logs.map((log, index) => sectionOf(log, drawings[index]!, index)).join("\n")}
<footer>davit ${
    escapeHtml(VERSION)
  }. Times are UTC. Dashed lines are events, grey areas are times without a sample.
Drag across a chart to look closer, double-click to go back.</footer>
<script type="application/json" id="drawings">${escapeJson(JSON.stringify(drawings))}</script>
<script>${plotScript}</script>
<script type="module">${pageScript}</script>
</body>
</html>
`;
}

function titleOf(logs: readonly JudgedLog[]): string {
  const [first] = logs;
  const name = first === undefined ? "no log" : TITLES[first.verdict.class];
  return logs.length > 1 ? `${name} and ${logs.length - 1} more logs` : name;
}

function sectionOf(log: JudgedLog, drawing: Drawing, index: number): string {
  const { history, run, verdict, earlier } = log;
  const last = formatReport(log).split("\n").at(-1)!.trim();
  return `<section id="log-${index}">
<p class="log">${text(history.name)}</p>
<div class="verdict ${verdict.class}">
<h2>${
    text(TITLES[verdict.class])
  } <span class="badge">${verdict.class}, confidence ${verdict.confidence}</span></h2>
<p>${text(verdict.summary)}</p>
</div>
${block("Evidence", verdict.evidence.map(evidenceHtml).join("\n"))}
${block("Also seen", verdict.alsoSeen.map(alsoSeenHtml).join("\n"))}
${block("Check next", list(verdict.check))}
<div class="ranges"></div>
<div class="charts"></div>
${block("Events", marksHtml(drawing.marks))}
${block("Not observable in this log", list(verdict.notObservable))}
${
    block(
      "Earlier runs in this log",
      list(earlier.map(({ verdict: before }) => `${TITLES[before.class]}: ${before.summary}`)),
    )
  }
<h3>Log</h3>
<p class="log">${text(last.replace(/^log: /, ""))}${
    (run?.overviewStride ?? 1) > 1
      ? `; before the last ${run!.samples.length} samples only some are drawn`
      : ""
  }</p>
</section>`;
}

function block(title: string, html: string): string {
  return html === "" ? "" : `<h3>${title}</h3>\n${html}`;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "" : `<ul>${items.map((item) => `<li>${text(item)}</li>`).join("")}</ul>`;
}

function evidenceHtml({ text: line, note }: Evidence): string {
  return `<pre>${text(line)}${note === undefined ? "" : `\n(${text(note)})`}</pre>`;
}

function alsoSeenHtml({ class: name, confidence, summary, evidence }: Finding): string {
  return `<p>${text(TITLES[name])} <span class="badge">${name}, confidence ${confidence}</span><br>${
    text(summary)
  }</p>${evidence.slice(-2).map(evidenceHtml).join("")}`;
}

function marksHtml(marks: readonly Mark[]): string {
  const rows = marks.map(({ time, label, kind }) =>
    `<li class="${kind}">${new Date(time * 1000).toISOString()} ${text(label)}</li>`
  );
  return rows.length === 0 ? "" : `<ul class="marks">${rows.join("")}</ul>`;
}

function text(untrusted: string): string {
  return escapeHtml(shown(untrusted));
}

const HTML_ESCAPES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(raw: string): string {
  return raw.replace(/[&<>"']/g, (char) => HTML_ESCAPES[char]!);
}

/** JSON that a script element can hold: no `</script` and no `<!--` can come up in it. */
function escapeJson(json: string): string {
  return json.replace(/[<>&]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

async function hashOf(source: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(source));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}
