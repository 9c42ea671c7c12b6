/**
 * What the words of known container hooks say about whose fault a failure was. Pure. The lines are those of
 * actions/runner-container-hooks (docker and k8s) and of its OSDC fork; only lines in a hook's own voice count,
 * and a step that prints such a line itself gets the verdict that it asked for: the line is shown as evidence.
 *
 * @module
 */

/** Whose fault a line puts it down to, and what to call it. */
export interface RuleMatch {
  readonly fault: "script" | "infra";
  readonly title: string;
  /** The line, without the workflow command before it. */
  readonly line: string;
}

interface Rule {
  readonly pattern: RegExp;
  readonly fault: "script" | "infra";
  readonly title: string;
}

/** The guess that is replaced, and the word for a cancelled step that it gives to every 130 and 143. */
export const GUESS_REGEXP =
  /^(?:##\[error\]|::error::)?\[OSDC\] Step (?:script exited with code -?\d+|cancelled by )/;
/** How such a line may begin, for whoever has to hold back the beginning of a line. */
export const GUESS_BEGINNINGS = ["", "##[error]", "::error::"].map((prefix) => `${prefix}[OSDC] Step `);

const VOICE_REGEXP = /^(?:##\[error\]|::error(?: [^:]*)?::|\[OSDC\] )(?:Error: )?(.*)$/;

const infra = (pattern: RegExp, title: string): Rule => ({ pattern, fault: "infra", title });
const script = (pattern: RegExp, title: string): Rule => ({ pattern, fault: "script", title });

const RULES: readonly Rule[] = [
  infra(/was OOMKilled/, "Job container out of memory"),
  infra(/Pod was evicted/, "Pod evicted"),
  infra(/Pod is in Unknown phase/, "Node lost"),
  infra(/^(?:Step failed: )?Container ".*" terminated/, "Job container ended"),
  infra(/Pod (?:failed|in unexpected state):/, "Pod failed"),
  infra(/RPC server process died/, "Hook server died"),
  infra(/RPC heartbeat failed/, "Hook server not reachable"),
  infra(/RPC \/exec (?:failed|network error)/, "Hook server did not start the step"),
  infra(/prior step in flight/, "Hook server busy with an earlier step"),
  infra(/RPC server (?:failed|did not|unreachable)/, "Hook server not started"),
  infra(/Infrastructure command failed with exit code/, "Copy to the job container failed"),
  infra(/failed to (?:merge temp dirs|copy|create job pod|create container)/i, "Job container not prepared"),
  infra(/pod failed to come online/i, "Pod not started"),
  infra(
    /(?:websocket|unexpected server response|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENOTFOUND)/i,
    "Cluster not reachable",
  ),
  infra(/Cannot connect to the Docker daemon/, "Docker not reachable"),
  // 137 may be anybody's SIGKILL, 125 is docker's own.
  script(/command terminated with (?:non-zero )?exit code:?.* (?!125\b|137\b)\d+$/, "Script failed"),
  script(/The process '[^']*docker' failed with exit code (?!125\b|126\b|127\b|137\b)\d+/, "Script failed"),
];

/** The first rule that a line fulfils; undefined for a line in nobody's or the step's own voice. */
export function matchRule(line: string): RuleMatch | undefined {
  const words = VOICE_REGEXP.exec(line)?.[1];
  if (words === undefined) return undefined;
  const rule = RULES.find(({ pattern }) => pattern.test(words));
  return rule && { fault: rule.fault, title: rule.title, line: words.slice(0, 300) };
}
