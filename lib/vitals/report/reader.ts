/**
 * Reads one log, whatever carried it, into the histories of those who wrote it. One pass, bounded memory, so that a
 * pipe will do. The transport is found out from the first bytes, and line by line where lines can differ.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { DEFAULT_TAG } from "../line.ts";
import { PARTIAL_NEEDLES, unwrapCri } from "./formats/cri.ts";
import { unwrapDockerJson } from "./formats/docker_json.ts";
import { isCsvHeader, unwrapCsvRow } from "./formats/loki_csv.ts";
import { LokiDocument, STREAM_NEEDLE, unwrapJsonLine } from "./formats/loki_json.ts";
import type { Message } from "./formats/message.ts";
import { unwrapStamped } from "./formats/stamped.ts";
import { type History, HistoryBuilder } from "./history.ts";
import { type Found, recordIn, recordsIn } from "./record.ts";
import { type ScannedLine, Scanner } from "./scan.ts";

/** How to read. */
export interface ReadOptions {
  /** What the log is called in reports. */
  readonly name: string;
  /** The lines' first word. */
  readonly tag?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

type Transport = "lines" | "json" | "csv";

const CHUNK_BYTES = 1 << 20;
const HEAD_BYTES = 1 << 16;
/** Of a line that comes in parts, its end: that is where a line of ours may begin. */
const PARTS_LIMIT_CHARS = 1 << 16;
/** One file with more pods than this is no log of a node. */
const SUBJECTS_LIMIT = 256;
const STREAMS_LIMIT = 64;
const COMPRESSED: readonly [magic: readonly number[], program: string][] = [
  [[0x1f, 0x8b], "zcat"],
  [[0x28, 0xb5, 0x2f, 0xfd], "zstdcat"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "xzcat"],
];

/** A log's bytes; each chunk may be overwritten when the next is asked for. */
export type Chunks = AsyncIterable<Uint8Array>;

/** The bytes of a file or a pipe. A megabyte at a time: Deno's own streams read 64 KiB. */
export async function* chunksOf(reader: Pick<Deno.FsFile, "read">): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let count = await reader.read(buffer); count !== null; count = await reader.read(buffer)) {
    yield buffer.subarray(0, count);
  }
}

/** The histories in a log, one per writer that it tells apart; one without runs when it has no line of ours. */
export async function readLog(
  source: Chunks,
  { name, tag = DEFAULT_TAG, signal }: ReadOptions,
): Promise<History[]> {
  let reader: LogReader | undefined;
  let head: Uint8Array = new Uint8Array(0);
  for await (const chunk of source) {
    signal?.throwIfAborted();
    if (reader !== undefined) {
      reader.push(chunk);
      continue;
    }
    head = concat(head, chunk);
    if (head.length < HEAD_BYTES) continue;
    reader = new LogReader(name, tag, head);
  }
  reader ??= new LogReader(name, tag, head);
  return reader.finish();
}

function concat(front: Uint8Array, back: Uint8Array): Uint8Array {
  const whole = new Uint8Array(front.length + back.length);
  whole.set(front);
  whole.set(back, front.length);
  return whole;
}

class LogReader {
  readonly #name: string;
  readonly #tag: string;
  readonly #transport: Transport;
  readonly #scanner: Scanner;
  readonly #document = new LokiDocument();
  readonly #builders = new Map<string, HistoryBuilder>();
  readonly #parts = new Map<string, string>();
  #lastMs: number | undefined;

  constructor(name: string, tag: string, head: Uint8Array) {
    refuseCompressed(name, head);
    this.#name = name;
    this.#tag = tag;
    const text = new TextDecoder().decode(head);
    this.#transport = transportOf(text);
    // Docker's objects have a "stream" too, in every line: only labels are worth a look.
    const hasLabels = new RegExp(`${STREAM_NEEDLE}\\s*\\{`).test(text);
    this.#scanner = new Scanner({
      needles: [tag, ...this.#transport === "lines" ? PARTIAL_NEEDLES : hasLabels ? [STREAM_NEEDLE] : []],
      visit: (line) => this.#visit(line),
      edge: (text) => this.#edge(text),
    });
    this.#scanner.push(head);
  }

  push(chunk: Uint8Array): void {
    this.#scanner.push(chunk);
  }

  finish(): History[] {
    this.#scanner.end();
    if (this.#builders.size === 0) this.#builders.set("", new HistoryBuilder());
    return [...this.#builders].map(([subject, builder]) => {
      // With several writers the newest line may be another's, and proves nothing about this one.
      if (this.#builders.size === 1) builder.lastOtherMs = this.#lastMs;
      return builder.finish(subject === "" ? this.#name : `${this.#name} (${subject})`);
    });
  }

  #visit({ text, isTerminated, windowHit }: ScannedLine): boolean {
    if (this.#transport === "json" && (windowHit !== undefined || !text.trimEnd().endsWith("}"))) {
      for (const message of this.#document.messagesIn(text, this.#tag, windowHit)) {
        this.#takeOfDocument(message);
      }
      return windowHit === undefined && this.#document.wantsMore;
    }
    if (windowHit !== undefined) {
      if (text.startsWith(this.#tag, windowHit)) this.#add(recordIn(text, this.#tag, windowHit), "");
      return false;
    }
    const line = withoutControls(text);
    const message = this.#unwrap(line);
    if (message === undefined) {
      for (const inner of this.#document.messagesIn(line, this.#tag)) this.#takeOfDocument(inner);
      return this.#document.wantsMore;
    }
    this.#note(message.timeMs);
    return this.#join(message, isTerminated);
  }

  #unwrap(line: string): Message | undefined {
    switch (this.#transport) {
      case "json":
        return unwrapDockerJson(line) ?? unwrapJsonLine(line, this.#tag);
      case "csv":
        return unwrapCsvRow(line, this.#tag) ?? { content: line };
      default:
        return unwrapCri(line) ?? unwrapDockerJson(line) ?? unwrapStamped(line);
    }
  }

  /** Puts the parts of a line together; true while one is open, so that the next line must come here too. */
  #join(message: Message, isTerminated: boolean): boolean {
    const { stream } = message;
    if (stream === undefined) {
      this.#take(message, isTerminated);
      return this.#parts.size > 0;
    }
    const content = ((this.#parts.get(stream) ?? "") + message.content).slice(-PARTS_LIMIT_CHARS);
    this.#parts.delete(stream);
    if (message.isPartial && isTerminated && this.#parts.size < STREAMS_LIMIT) {
      this.#parts.set(stream, content);
    } else this.#take({ ...message, content }, isTerminated && !message.isPartial);
    return this.#parts.size > 0;
  }

  #takeOfDocument(message: Message): void {
    this.#note(message.timeMs);
    this.#take(message, true);
  }

  #take({ content, subject = "" }: Message, isWhole: boolean): void {
    if (!content.includes(this.#tag)) return;
    for (const found of recordsIn(content, this.#tag, isWhole)) this.#add(found, subject);
  }

  #add(found: Found, subject: string): void {
    if ("fault" in found && found.fault === "foreign") return;
    const builder = this.#builderOf(subject);
    if ("fault" in found) builder.torn++;
    else builder.add(found.record);
  }

  #builderOf(subject: string): HistoryBuilder {
    let builder = this.#builders.get(subject);
    if (builder !== undefined) return builder;
    if (this.#builders.size >= SUBJECTS_LIMIT) {
      throw new Failure(
        "DATAERR",
        `Cannot read "${this.#name}": it has lines of more than ${SUBJECTS_LIMIT} pods, expected those of one node`,
        { code: "too_many_writers", hint: "narrow the query that made the export" },
      );
    }
    builder = new HistoryBuilder();
    this.#builders.set(subject, builder);
    return builder;
  }

  #edge(text: string): void {
    if (this.#transport === "json") {
      for (const [, digits] of text.slice(-400).matchAll(/"(?:timestamp"\s*:\s*")?(\d{19})"/g)) {
        this.#note(Number(digits) / 1e6);
      }
      const time = /"time(?:stamp)?":"([^"]{20,40})"/.exec(text)?.[1];
      if (time !== undefined) this.#note(Date.parse(time));
    } else if (this.#transport === "lines") this.#note(this.#unwrap(withoutControls(text))?.timeMs);
  }

  #note(timeMs: number | undefined): void {
    if (timeMs !== undefined && !Number.isNaN(timeMs)) this.#lastMs = Math.max(this.#lastMs ?? 0, timeMs);
  }
}

function refuseCompressed(name: string, head: Uint8Array): void {
  const program = COMPRESSED.find(([magic]) => magic.every((byte, index) => head[index] === byte))?.[1];
  if (program === undefined) return;
  throw new Failure("DATAERR", `Cannot read "${name}": it is compressed, expected text`, {
    code: "compressed_log",
    hint: `${program} FILE | davit vitals report -`,
  });
}

function transportOf(head: string): Transport {
  const text = head.replace(/^\ufeff/, "").trimStart();
  if (/^(?:\{\s*"|\[\s*[{[\]])/.test(text)) return "json";
  const [first = ""] = text.split("\n", 1);
  return first.length < 4096 && isCsvHeader(first) ? "csv" : "lines";
}

// deno-lint-ignore no-control-regex -- escape sequences of terminals are what it takes away
const ANSI_REGEXP = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

function withoutControls(line: string): string {
  const text = line.includes("\u001b") ? line.replace(ANSI_REGEXP, "") : line;
  return text.endsWith("\r") ? text.slice(0, -1) : text;
}
