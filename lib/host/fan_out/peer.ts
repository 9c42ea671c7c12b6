/**
 * The calling end of a connection.
 *
 * @module
 */
import { EXIT, Failure, messageOf } from "../../failure.ts";
import { Credit, FrameWriter, WINDOW_BYTES } from "./flow.ts";
import {
  decodeJson,
  encodeFrame,
  encodeJson,
  type Frame,
  type FrameReader,
  KIND,
  protocolFailure,
} from "./frames.ts";
import type { CallOptions, Peer } from "./rpc.ts";

/** How long a call that was given up waits for the other end to have ended it. */
const CANCEL_GRACE_MS = 5_000;
/** Of a failure's sentence; the end of a log may be in it. */
const MESSAGE_LIMIT_CHARS = 65_536;

/** What a peer is made of. */
export interface PeerParts {
  /** For messages. */
  readonly host: string;
  /** Behind its hello line. */
  readonly reader: FrameReader;
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Called when the stream has ended, or by close(), perhaps twice: ends what carries it and says what became of
   * that. `isBroken`: what is there is not to be waited for.
   */
  readonly end: (isBroken: boolean) => Promise<string>;
}

/** One call under way. */
interface Pending {
  readonly options: CallOptions;
  readonly credit: Credit;
  /** Bytes that came and were not taken yet, and the taking of them, one after the other. */
  untakenBytes: number;
  taken: Promise<void>;
  /** Nobody listens here any more. */
  isGivenUp: boolean;
  readonly answer: PromiseWithResolvers<unknown>;
  /** Resolves when the other end has answered, or never will. */
  readonly ended: PromiseWithResolvers<void>;
}

/** Makes a peer of a connection whose other end has said its hello. */
export function connectPeer({ host, reader, writable, end }: PeerParts): Peer {
  const writer = new FrameWriter(writable);
  const pending = new Map<number, Pending>();
  let lastCall = 0;
  let isClosing = false;
  let isOver = false;

  const closed = readAll().then(
    () => undefined,
    (error: unknown) => error instanceof Error ? error : new Error(String(error)),
  ).then(async (fault) => {
    isOver = true;
    // Not waited for: where nobody reads, only end() brings that about.
    void writer.close();
    if (fault !== undefined) rejectAll(fault);
    const became = await end(fault !== undefined);
    const error = fault ?? (isClosing ? undefined : lost(became));
    rejectAll(error ?? lost("it was closed here"));
    return error;
  });

  function rejectAll(error: Error): void {
    for (const call of pending.values()) {
      call.credit.end();
      call.answer.reject(error);
      call.ended.resolve();
    }
    pending.clear();
  }

  function lost(became: string): Failure {
    return new Failure("UNKNOWN", `Cannot hear from "${host}" any more: ${became}`, {
      code: "connection_lost",
      hint: "what was under way there may have been done or not: look again",
    });
  }

  async function readAll(): Promise<void> {
    try {
      for (;;) {
        const frame = await reader.readFrame();
        if (frame === undefined) return;
        receive(frame);
      }
    } catch (error) {
      await reader.cancel();
      throw error instanceof Failure && error.code === "protocol"
        ? new Failure("PROTOCOL", error.message.replace("the other end", `"${host}"`), { code: "protocol" })
        : error;
    }
  }

  function receive(frame: Frame): void {
    const call = pending.get(frame.call);
    if (call === undefined) {
      if (frame.call > lastCall) throw protocolFailure("it answers what nobody asked");
      return; // the rest of a call that was given up
    }
    if (frame.kind === KIND.RESULT) settle(frame.call, call, { value: decodeJson(frame) });
    else if (frame.kind === KIND.ERROR) settle(frame.call, call, { error: failureOf(decodeJson(frame)) });
    else if (frame.kind === KIND.MESSAGE) tell(call, decodeJson(frame));
    else if (frame.kind === KIND.BYTES) takeBytes(frame, call);
    else if (frame.kind === KIND.ACK) call.credit.give(ackOf(frame));
    else throw protocolFailure(`a frame of kind ${frame.kind} came the wrong way`);
  }

  /** After all its bytes are taken. */
  function settle(id: number, call: Pending, answer: { value: unknown } | { error: unknown }): void {
    call.credit.end();
    void call.taken.then(() => {
      pending.delete(id);
      call.ended.resolve();
      if ("error" in answer) call.answer.reject(answer.error);
      else call.answer.resolve(answer.value);
    });
  }

  function tell(call: Pending, message: unknown): void {
    try {
      if (!call.isGivenUp) call.options.onMessage?.(message);
    } catch (error) {
      call.answer.reject(error);
    }
  }

  function takeBytes({ call: id, payload }: Frame, call: Pending): void {
    const bytes = payload.subarray(1);
    call.untakenBytes += bytes.length;
    if (call.untakenBytes > WINDOW_BYTES) throw protocolFailure("it sent more than there was room for");
    call.taken = call.taken.then(async () => {
      try {
        if (!call.isGivenUp) await call.options.onBytes?.(payload[0]!, bytes);
      } catch (error) {
        call.answer.reject(error); // call() then gives it up there, too
      }
      call.untakenBytes -= bytes.length;
      void writer.write(encodeAck(id, bytes.length));
    });
  }

  async function call(method: string, params: unknown, options: CallOptions = {}): Promise<unknown> {
    options.signal?.throwIfAborted();
    if (isOver) throw await closed ?? lost("it was closed here");
    const id = ++lastCall;
    const frame = encodeJson(KIND.CALL, id, {
      method,
      params,
      input: options.input !== undefined,
      messages: options.messages !== undefined,
    });
    const call: Pending = {
      options,
      credit: new Credit(),
      untakenBytes: 0,
      taken: Promise.resolve(),
      isGivenUp: false,
      answer: Promise.withResolvers(),
      ended: Promise.withResolvers(),
    };
    pending.set(id, call);
    const { promise: givenUp, reject: giveUp } = Promise.withResolvers<never>();
    givenUp.catch(() => {});
    const answer = call.answer.promise;
    answer.catch(() => {});
    const onAbort = () => giveUp(options.signal?.reason);
    options.signal?.addEventListener("abort", onAbort);
    const timer = options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => giveUp(tooLate(host, method, options.timeoutMs!)), options.timeoutMs);
    // Feeding is not waited for: a handler may answer without reading its input.
    const feeding = feed(id, call);
    feeding.catch(giveUp);
    void writer.write(frame);
    try {
      return await Promise.race([answer, givenUp]);
    } catch (error) {
      call.isGivenUp = true;
      if (pending.has(id)) await cancel(id, call);
      throw error;
    } finally {
      pending.delete(id);
      call.credit.end();
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Resolves when the handler there has ended, the connection is gone, or the grace is over. */
  async function cancel(id: number, { credit, ended }: Pending): Promise<void> {
    credit.end();
    void writer.write(encodeFrame(KIND.CANCEL, id));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CANCEL_GRACE_MS));
    await Promise.race([ended.promise, late]);
    clearTimeout(timer);
  }

  async function feed(id: number, { credit, options: { input, messages } }: Pending): Promise<void> {
    async function feedInput(): Promise<void> {
      for await (const bytes of input ?? []) {
        for (let rest = bytes; rest.length > 0;) {
          if (!await credit.wait()) return;
          const count = credit.take(rest.length);
          await writer.write(encodeBytes(id, 0, rest.subarray(0, count)));
          rest = rest.subarray(count);
        }
      }
      if (pending.has(id)) void writer.write(encodeFrame(KIND.END, id));
    }
    async function feedMessages(): Promise<void> {
      for await (const message of messages ?? []) {
        if (!pending.has(id)) return;
        await writer.write(encodeJson(KIND.MESSAGE, id, message));
      }
    }
    await Promise.all([input === undefined ? undefined : feedInput(), feedMessages()]);
  }

  return {
    call,
    closed,
    async close() {
      isClosing = true;
      rejectAll(lost("it was closed here"));
      // The other end ends when its input does; end() then ends what does not.
      void writer.close();
      await end(false);
      await reader.cancel();
      await closed;
    },
  };
}

/** A frame of raw bytes. */
export function encodeBytes(call: number, channel: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodeFrame(KIND.BYTES, call, new Uint8Array([channel]), bytes);
}

/** A frame that says how many bytes were taken. */
export function encodeAck(call: number, bytes: number): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setUint32(0, bytes);
  return encodeFrame(KIND.ACK, call, payload);
}

/** The count in such a frame. */
export function ackOf({ payload }: Frame): number {
  if (payload.length !== 4) throw protocolFailure("a count is not 4 bytes");
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0);
}

function tooLate(host: string, method: string, timeoutMs: number): Failure {
  return new Failure(124, `Cannot finish "${method}" on "${host}": no answer within ${timeoutMs} ms`, {
    code: "timeout",
  });
}

/** How a failure travels. Anything that is none is a bug there, and stays one here. */
export function portableFailure(error: unknown): unknown {
  return error instanceof Failure
    ? {
      exit: error.exitStatus,
      code: error.code,
      message: error.message.slice(0, MESSAGE_LIMIT_CHARS),
      hint: error.hint,
    }
    : {
      exit: EXIT.SOFTWARE,
      code: "bug",
      message: `This is a bug in davit: ${error instanceof Error ? error.stack : messageOf(error)}`,
    };
}

function failureOf(value: unknown): Failure {
  const { exit, code, message, hint } = (value ?? {}) as Record<string, unknown>;
  if (typeof exit !== "number" || typeof code !== "string" || typeof message !== "string") {
    throw protocolFailure("a failure has no exit, code and message");
  }
  return new Failure(exit, message, { code, hint: typeof hint === "string" ? hint : undefined });
}
