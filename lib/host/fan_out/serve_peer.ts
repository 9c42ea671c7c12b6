/**
 * The serving end of a connection.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { Credit, FrameWriter, Inbox, MESSAGES_LIMIT, WINDOW_BYTES } from "./flow.ts";
import { decodeJson, encodeJson, type Frame, FrameReader, HELLO, KIND, protocolFailure } from "./frames.ts";
import { ackOf, encodeAck, encodeBytes, portableFailure } from "./peer.ts";
import type { CallContext, Handlers } from "./rpc.ts";

/** Calls that run at once; a caller has a handful. */
const CALLS_LIMIT = 256;
/** How much may wait to be sent before messages are dropped. */
const TELL_LIMIT_BYTES = 4 << 20;
/** How long handlers have to tidy up when the caller is gone. */
const DRAIN_MS = 30_000;

/** One call that runs here. */
interface Running {
  readonly abort: AbortController;
  readonly credit: Credit;
  readonly input: Inbox<Uint8Array>;
  readonly messages: Inbox<unknown>;
  untakenBytes: number;
  readonly ended: Promise<void>;
}

/**
 * Answers calls until `readable` ends; then, or when `signal` aborts, aborts those that run and waits for them, up
 * to half a minute. Throws a Failure (`protocol`) when what comes is not the wire.
 */
export async function servePeer(
  handlers: Handlers,
  readable: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  { signal }: { signal?: AbortSignal } = {},
): Promise<void> {
  const reader = new FrameReader(readable);
  const writer = new FrameWriter(writable);
  const running = new Map<number, Running>();
  const gone = new Failure("UNKNOWN", "The caller is gone", { code: "caller_gone" });

  // A line of its own, whatever a login shell printed before it.
  await writer.write(new TextEncoder().encode(`\n${HELLO}\n`));
  const onAbort = () => void reader.cancel();
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  try {
    for (;;) {
      const frame = await reader.readFrame();
      if (frame === undefined) return;
      receive(frame);
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    for (const call of running.values()) stop(call, gone);
    await bounded(Promise.all([...running.values()].map(({ ended }) => ended)).then(() => writer.close()));
    await reader.cancel();
  }

  function receive(frame: Frame): void {
    if (frame.kind === KIND.CALL) return start(frame);
    const call = running.get(frame.call);
    if (call === undefined) return; // it has ended meanwhile
    if (frame.kind === KIND.BYTES) {
      call.untakenBytes += frame.payload.length - 1;
      if (call.untakenBytes > WINDOW_BYTES) throw protocolFailure("it sent more than there was room for");
      call.input.put(frame.payload.subarray(1));
    } else if (frame.kind === KIND.END) call.input.end();
    else if (frame.kind === KIND.MESSAGE) call.messages.put(decodeJson(frame));
    else if (frame.kind === KIND.ACK) call.credit.give(ackOf(frame));
    else if (frame.kind === KIND.CANCEL) {
      stop(call, new Failure("UNKNOWN", "The caller has given up", { code: "caller_gone" }));
    } else throw protocolFailure(`a frame of kind ${frame.kind} came the wrong way`);
  }

  function start(frame: Frame): void {
    const id = frame.call;
    const { method, params, input: hasInput, messages: hasMessages } = (decodeJson(frame) ?? {}) as Record<
      string,
      unknown
    >;
    if (typeof method !== "string" || running.has(id)) throw protocolFailure("a call is not one");
    if (running.size >= CALLS_LIMIT) {
      throw protocolFailure(`more than ${CALLS_LIMIT} calls at once`);
    }
    const abort = new AbortController();
    const credit = new Credit();
    const input = new Inbox<Uint8Array>({
      limit: Infinity, // by its bytes
      onTaken(bytes) {
        call.untakenBytes -= bytes.length;
        void writer.write(encodeAck(id, bytes.length));
      },
    });
    const messages = new Inbox<unknown>({ limit: MESSAGES_LIMIT });
    if (!hasInput) input.end();
    if (!hasMessages) messages.end();
    const context: CallContext = {
      signal: abort.signal,
      input,
      messages,
      async send(channel, bytes) {
        for (let rest = bytes; rest.length > 0;) {
          if (!await credit.wait()) return;
          const count = credit.take(rest.length);
          await writer.write(encodeBytes(id, channel, rest.subarray(0, count)));
          rest = rest.subarray(count);
        }
      },
      tell(message) {
        if (abort.signal.aborted || !running.has(id) || writer.waitingBytes > TELL_LIMIT_BYTES) return;
        void writer.write(encodeJson(KIND.MESSAGE, id, message));
      },
    };
    const call: Running = {
      abort,
      credit,
      input,
      messages,
      untakenBytes: 0,
      ended: answer(id, method, params, context).finally(() => {
        running.delete(id);
        endStreams(call);
      }),
    };
    running.set(id, call);
  }

  async function answer(id: number, method: string, params: unknown, context: CallContext): Promise<void> {
    await Promise.resolve(); // the call is in `running` before its handler runs
    let frame: Uint8Array<ArrayBuffer>;
    try {
      const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined;
      if (handler === undefined) throw unknownMethod(method);
      frame = encodeJson(KIND.RESULT, id, await handler(params, context));
    } catch (error) {
      frame = encodeJson(KIND.ERROR, id, portableFailure(error));
    }
    await writer.write(frame);
  }
}

function stop(call: Running, reason: Failure): void {
  call.abort.abort(reason);
  endStreams(call);
}

function endStreams({ credit, input, messages }: Running): void {
  credit.end();
  input.end();
  messages.end();
}

async function bounded(work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, DRAIN_MS));
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function unknownMethod(method: string): Failure {
  return new Failure("PROTOCOL", `Cannot call "${method}": there is no such method here`, {
    code: "unknown_method",
    hint: "the davit on this host is of another version",
  });
}
