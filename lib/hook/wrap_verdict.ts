/**
 * Whose fault it was that a wrapped hook failed: what the hook server in the job container says comes first, then
 * the hook's own words, and where neither tells, that is said. Pure.
 *
 * @module
 */
import { compose, type Verdict, verdictOf } from "./fault.ts";
import type { Result } from "./protocol.ts";
import type { RuleMatch } from "./wrap_rules.ts";

/** What the hook server answered after the hook's end. */
export type ServerWord =
  /** No server is known: the hook's state names none. */
  | { readonly kind: "none" }
  | { readonly kind: "unreachable"; readonly server: string; readonly why: string }
  | {
    readonly kind: "status";
    readonly id: string | null;
    readonly exitCode: number | null;
    /** Only davit's own server has it. */
    readonly result: Result | null;
  };

/** What is known of a hook's end. */
export interface HookEnd {
  /** The hook's command, `run_script_step`; undefined where its input could not be read. */
  readonly command: string | undefined;
  readonly code: number;
  /** Signals that came to us, which are the runner's. */
  readonly signals: readonly Deno.Signal[];
  readonly matches: readonly RuleMatch[];
  /** Job that the server had before the hook began; undefined where it was not asked or did not answer. */
  readonly idBefore: string | null | undefined;
  readonly server: ServerWord;
}

/** The verdict; only for an end that is no success. */
export function hookVerdict(end: HookEnd): Verdict {
  const { command, code, signals, matches, server } = end;
  const known = matches.find(({ fault }) => fault === "infra");
  const said = (match: RuleMatch) => [`the hook said: ${match.line}`];
  if (signals.length > 0) {
    return compose(
      "unknown",
      "Step cancelled",
      `The hook got ${signals.join(", ")} and ended with ${code}`,
      [],
    );
  }
  const ofStep = command === "run_script_step" ? stepVerdict(end) : undefined;
  if (ofStep !== undefined) return ofStep;
  if (known !== undefined) {
    return compose("infra", known.title, `The hook ended with exit code ${code}`, said(known));
  }
  if (server.kind === "unreachable") {
    const evidence = [`the hook server at ${server.server} does not answer: ${server.why}`];
    return compose("infra", "Hook server not reachable", `The hook ended with exit code ${code}`, evidence);
  }
  const failed = matches.find(({ fault }) => fault === "script");
  if (failed !== undefined) {
    return compose("script", failed.title, `The hook ended with exit code ${code}`, said(failed));
  }
  const where = command === undefined ? "" : ` in ${command}`;
  return compose(
    "unknown",
    `Hook failed: exit code ${code}`,
    `The hook ended with exit code ${code}${where}`,
    [],
  );
}

/** What the server knows of this very step. */
function stepVerdict({ code, idBefore, server }: HookEnd): Verdict | undefined {
  if (server.kind !== "status" || server.exitCode === null) return undefined;
  if (server.id === null || idBefore === undefined || server.id === idBefore) return undefined;
  if (server.result !== null && server.result.id === server.id) return verdictOf(server.result);
  // process.exit() keeps the low byte, so -9 comes out as 247.
  if ((server.exitCode & 0xff) !== (code & 0xff)) return undefined;
  const evidence = [`the hook server reports ${server.exitCode} for step ${server.id}`];
  return server.exitCode < 0
    ? compose(
      "unknown",
      `Step ended by signal ${-server.exitCode}`,
      "The script was ended by a signal",
      evidence,
    )
    : compose(
      "script",
      `Step failed: exit code ${code}`,
      `The script ended with exit code ${code}`,
      evidence,
    );
}
