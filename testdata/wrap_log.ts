/**
 * What log transports make of lines: writers of the formats that `davit vitals report` reads, each as its own tool
 * writes it.
 *
 * @module
 */

/** One line of a container, and when its runtime took it. */
export interface WrittenLine {
  readonly text: string;
  readonly timeMs: number;
}

/** Gives each line the time in it, or that of the line before. */
export function timed(lines: readonly string[]): WrittenLine[] {
  let timeMs = Date.UTC(2026, 10, 21, 8, 59);
  return lines.map((text) => {
    const found = Date.parse(/\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(text)?.[0] ?? "");
    if (!Number.isNaN(found)) timeMs = found + 3;
    return { text, timeMs };
  });
}

const PART_BYTES = 16_384;

/** Lines as a runtime cuts them: every part but the last is partial. */
function parts(text: string): string[] {
  const cut = text.match(new RegExp(`[^]{1,${PART_BYTES}}`, "g"));
  return cut ?? [""];
}

function nano(timeMs: number): string {
  return new Date(timeMs).toISOString().replace("Z", "123456Z");
}

/** Every format, by name. */
export const WRAPPERS: Readonly<Record<string, (lines: readonly WrittenLine[]) => string>> = {
  bare: (lines) => lines.map(({ text }) => `${text}\n`).join(""),
  "bare with CRLF and colours": (lines) =>
    lines.map(({ text }) => `\u001b[36;1m${text}\u001b[0m\r\n`).join(""),
  CRI: (lines) =>
    lines.flatMap(({ text, timeMs }) =>
      parts(text).map((part, index, all) =>
        `${nano(timeMs)} stdout ${index < all.length - 1 ? "P" : "F"} ${part}\n`
      )
    ).join(""),
  "docker json-file": (lines) =>
    lines.flatMap(({ text, timeMs }) =>
      parts(text).map((part, index, all) => {
        const log = index < all.length - 1 ? part : `${part}\n`;
        return `${JSON.stringify({ log, stream: "stdout", time: nano(timeMs) })}\n`;
      })
    ).join(""),
  "GitHub job log": (lines) =>
    `\ufeff${
      lines.map(({ text, timeMs }) => `${new Date(timeMs).toISOString().replace("Z", "4567Z")} ${text}\n`)
        .join("")
    }`,
  "gh run view --log": (lines) =>
    lines.map(({ text, timeMs }) => `build\tRun tests\t${new Date(timeMs).toISOString()} ${text}\n`).join(""),
  "logcli jsonl, newest first": (lines) =>
    lines.toReversed().map(({ text, timeMs }) =>
      `${JSON.stringify({ labels: { pod: "runner-a" }, line: text, timestamp: nano(timeMs) })}\n`
    ).join(""),
  "Loki query_range": (lines) =>
    JSON.stringify({
      status: "success",
      data: {
        resultType: "streams",
        result: [{
          stream: { pod: "runner-a", namespace: "ci" },
          values: lines.toReversed().map(({ text, timeMs }) => [`${timeMs}000000`, text]),
        }],
        stats: { summary: { bytesProcessedPerSecond: 1 } },
      },
    }),
  "Grafana JSON": (lines) =>
    JSON.stringify(
      lines.toReversed().map(({ text, timeMs }) => ({
        line: text,
        timestamp: `${timeMs}000000`,
        date: new Date(timeMs).toISOString(),
        fields: { pod: "runner-a" },
      })),
      null,
      2,
    ),
  "Grafana CSV": (lines) =>
    `"labels","Time","Line","tsNs","id"\n${
      lines.toReversed().map(({ text, timeMs }) =>
        [
          '{"pod":"runner-a"}',
          new Date(timeMs).toISOString().replace("T", " ").replace("Z", ""),
          text,
          `${timeMs}000000`,
          "A1",
        ]
          .map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",")
      ).join("\n")
    }\n`,
};
