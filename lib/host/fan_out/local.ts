/**
 * The host that is this machine: its handlers run in this process, over the same wire as any other's.
 *
 * @module
 */
import { FrameReader } from "./frames.ts";
import { connectPeer } from "./peer.ts";
import type { Peer, Serving } from "./rpc.ts";
import { servePeer } from "./serve_peer.ts";

/** A peer in this process. `serving` is disposed when it is closed. */
export async function localPeer(serving: Serving, host = "localhost"): Promise<Peer> {
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const here = new TransformStream<Uint8Array, Uint8Array>();
  const served = servePeer(serving.handlers, there.readable, here.writable)
    .then(() => "its handlers have ended", String);
  const reader = new FrameReader(here.readable);
  await reader.readHello(() => {});
  return connectPeer({
    host,
    reader,
    writable: there.writable,
    async end() {
      const became = await served;
      await serving[Symbol.asyncDispose]();
      return became;
    },
  });
}
