/**
 * What the entrypoint tells the probe beside its command: one JSON object a line.
 *
 * @module
 */
import type { SamplerMessage } from "./sampler_child.ts";

const KINDS: ReadonlySet<unknown> = new Set<SamplerMessage["kind"]>(["restarted", "signal", "end"]);

/** The messages from `stream` until it ends; what cannot be read is passed over. */
export async function* readMessages(stream: ReadableStream<Uint8Array>): AsyncGenerator<SamplerMessage> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      const message = parse(line);
      if (message !== undefined) yield message;
    }
  }
}

function parse(line: string): SamplerMessage | undefined {
  try {
    const message = JSON.parse(line);
    return KINDS.has(message?.kind) ? message : undefined;
  } catch {
    return undefined; // the parent was killed in the middle of a line
  }
}
