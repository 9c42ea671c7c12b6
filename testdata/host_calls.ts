/** Calls handlers in this process, for tests as another user. Prints a JSON array: results, or `{ code }` of a failure. */
import { hostHandlers } from "../lib/container/agent/handlers.ts";
import type { HostMethod, HostMethods } from "../lib/container/host_methods.ts";
import { Failure } from "../lib/failure.ts";
import { callHandler } from "./runtime_host.ts";

const { env, calls } = JSON.parse(Deno.args[0]!) as {
  env: Record<string, string>;
  calls: [HostMethod, HostMethods[HostMethod]["params"]][];
};
const answers: unknown[] = [];
for (const [method, params] of calls) {
  await using serving = hostHandlers({ env });
  try {
    answers.push((await callHandler(serving, method, params)).result);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    answers.push({ code: error.code });
  }
}
Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(answers)}\n`));
