/**
 * `container agent`: what a davit elsewhere starts on this host to ask and to act; not for people, and not in the
 * help. It speaks lib/host/fan_out's wire on stdin and stdout and ends with its caller.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import type { Context } from "./context.ts";

/** Builds the command. */
export function containerAgent(context: Context): CommandUnknownOpts {
  return new Command("agent")
    .description("Serve another davit on standard input and output")
    .action(async () => {
      const { servePeer } = await import("../lib/host/fan_out/serve_peer.ts");
      const { hostHandlers } = await import("../lib/container/agent/handlers.ts");
      const ended = new AbortController();
      // A Ctrl-C at a terminal that we share with the caller is for the caller, who then ends things in order.
      context.takeSignals([], (name) => {
        if (name !== "SIGINT") {
          ended.abort(new Failure("TEMPFAIL", `Interrupted by ${name}`, { code: "interrupted" }));
        }
      });
      await using serving = hostHandlers({ env: context.env, log: context.log });
      await servePeer(serving.handlers, Deno.stdin.readable, Deno.stdout.writable, { signal: ended.signal });
    });
}
