/**
 * Where the output of `exec` goes: live, into files of a directory, or into memory for one JSON result.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { cannotWrite } from "../host/publish.ts";
import type { ExecHost } from "./exec.ts";
import { fileNameOf } from "./kept_output.ts";
import { OutputLines, type Sink } from "./output_lines.ts";

/** Takes output as it comes, and each host's end. */
export interface ExecSinks {
  onOutput(host: string, channel: number, bytes: Uint8Array): Promise<void>;
  onEnd(result: ExecHost): Promise<void>;
}

/** Lines on stdout and stderr, with the hosts' names where there are several. */
export function liveSinks(hosts: readonly string[], sink: Sink): ExecSinks {
  const lines = new OutputLines(hosts, sink);
  return {
    onOutput: (host, channel, bytes) => lines.write(host, channel, bytes),
    onEnd: ({ host }) => lines.end(host),
  };
}

const NAMES = ["", "stdout", "stderr"];

/** `HOST.stdout`, `HOST.stderr` and, at its end, `HOST.json`; all of them, however long. */
export async function fileSinks(
  directory: string,
  hosts: readonly string[],
): Promise<ExecSinks & AsyncDisposable> {
  await makeDirectory(directory);
  const files = new Map<string, Deno.FsFile>();
  const pathOf = (host: string, kind: string) => `${directory}/${fileNameOf(host)}.${kind}`;
  for (const host of hosts) {
    for (const channel of [1, 2]) {
      files.set(`${channel} ${host}`, await create(pathOf(host, NAMES[channel]!)));
    }
  }
  return {
    async onOutput(host, channel, bytes) {
      const path = pathOf(host, NAMES[channel]!);
      try {
        const file = files.get(`${channel} ${host}`)!;
        for (let left = bytes; left.length > 0;) left = left.subarray(await file.write(left));
      } catch (error) {
        throw cannotWrite(path, error);
      }
    },
    async onEnd(result) {
      const path = pathOf(result.host, "json");
      try {
        await Deno.writeTextFile(path, `${JSON.stringify(result)}\n`);
      } catch (error) {
        throw cannotWrite(path, error);
      }
    },
    [Symbol.asyncDispose]() {
      for (const file of files.values()) file.close();
      return Promise.resolve();
    },
  };
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await Deno.mkdir(directory, { recursive: true });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw cannotWrite(directory, error);
  }
}

async function create(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { write: true, create: true, truncate: true });
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** What a host printed, for the JSON result; beyond {@linkcode CAPTURED_BYTES} a stream is only counted. */
export interface Captured {
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes that were left out. */
  readonly cutBytes: number;
}

/** Of each stream of each host: 300 hosts take 150 MB at most. */
export const CAPTURED_BYTES = 256 << 10;

/** Keeps output in memory. */
export function capturingSinks(): ExecSinks & { captured(host: string): Captured } {
  const kept = new Map<string, { texts: string[]; sizes: number[]; cut: number; decoders: TextDecoder[] }>();
  const of = (host: string) => {
    const known = kept.get(host);
    if (known !== undefined) return known;
    const made = {
      texts: ["", "", ""],
      sizes: [0, 0, 0],
      cut: 0,
      decoders: NAMES.map(() => new TextDecoder()),
    };
    kept.set(host, made);
    return made;
  };
  return {
    onOutput(host, channel, bytes) {
      const own = of(host);
      const fitting = bytes.subarray(0, Math.max(0, CAPTURED_BYTES - own.sizes[channel]!));
      own.sizes[channel]! += fitting.length;
      own.cut += bytes.length - fitting.length;
      own.texts[channel] += own.decoders[channel]!.decode(fitting, { stream: true });
      return Promise.resolve();
    },
    onEnd: () => Promise.resolve(),
    captured(host) {
      const { texts: [, stdout, stderr], cut } = of(host);
      return { stdout: stdout!, stderr: stderr!, cutBytes: cut };
    },
  };
}
