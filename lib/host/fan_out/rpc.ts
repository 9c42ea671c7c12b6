/**
 * What two davits say to each other over one pair of pipes: calls with a JSON argument and a JSON result, and beside
 * each call bytes and messages in both directions while it runs. The wire is in frames.ts, the two ends in peer.ts
 * and serve_peer.ts.
 *
 * @module
 */

/** One end of a connection, or the handlers of this very process (`local`). */
export interface Peer {
  /**
   * Calls `method` there. Rejects with a Failure: the other end's own, or one that says what became of the
   * connection. Aborting the signal ends the call there too, and rejects with the signal's reason as soon as the
   * handler there has settled, or after a few seconds.
   */
  call(method: string, params: unknown, options?: CallOptions): Promise<unknown>;
  /** Settles when the connection has ended, with the reason when it was not asked for. */
  readonly closed: Promise<Error | undefined>;
  close(): Promise<void>;
}

/** What goes on beside a call, on the caller's side. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** The call fails with code `timeout` after so long; undefined = no bound but the signal. */
  readonly timeoutMs?: number;
  /** Bytes from there; channel 1 and 2 as stdout and stderr. A promise that is not settled holds the sender back. */
  readonly onBytes?: (channel: number, bytes: Uint8Array) => void | Promise<void>;
  /** Messages from there, such as progress. */
  readonly onMessage?: (message: unknown) => void;
  /** Bytes to there, such as a command's standard input; their end is told too. */
  readonly input?: AsyncIterable<Uint8Array>;
  /** Messages to there while the call runs, such as signals or a terminal's size. */
  readonly messages?: AsyncIterable<unknown>;
}

/** The same on the side that does the work. */
export interface CallContext {
  /** Aborted when the caller gives up or is gone. */
  readonly signal: AbortSignal;
  /** Resolves when there is room for more, at the latest when the caller is gone. */
  send(channel: number, bytes: Uint8Array): Promise<void>;
  /** Dropped where megabytes wait to be sent already. */
  tell(message: unknown): void;
  readonly input: AsyncIterable<Uint8Array>;
  readonly messages: AsyncIterable<unknown>;
}

/** What one end can do. `params` are checked by the handler (zod/mini): they come from another process. */
export type Handlers = Readonly<Record<string, (params: unknown, context: CallContext) => Promise<unknown>>>;

/** Handlers of one connection. Disposed when that is over: what was held for it is let go, what it started is ended. */
export interface Serving extends AsyncDisposable {
  readonly handlers: Handlers;
}

/** Opens connections to hosts; one per host, kept until closed. */
export interface Connector extends AsyncDisposable {
  /** Rejects with a Failure whose code is one of {@linkcode ConnectCode}. */
  connect(host: string, options: { readonly signal: AbortSignal; readonly timeoutMs: number }): Promise<Peer>;
}

/** Why a host could not be connected to. */
export type ConnectCode = "unreachable" | "login_refused" | "timeout" | "agent" | "protocol";
