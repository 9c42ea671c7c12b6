/**
 * The failure that ends a step without a result of its own: not the script's doing.
 *
 * @module
 */
import { Failure } from "../failure.ts";

/** Why there is no result. */
export type LostCause = "server_gone" | "server_restarted" | "job_unknown";

const SENTENCES: Readonly<Record<LostCause, string>> = {
  server_gone: "the server is gone",
  server_restarted: "the server was started again meanwhile",
  job_unknown: "the server does not know it any more",
};

/** A step whose end nobody can tell. */
export class JobLost extends Failure {
  readonly lostBy: LostCause;
  /** What is known, sentences without a final period. */
  readonly evidence: readonly string[];
  readonly #server: string;

  constructor(server: string, lostBy: LostCause, evidence: readonly string[]) {
    super("UNAVAILABLE", `Cannot tell how the step ended: ${SENTENCES[lostBy]}, on server "${server}"`, {
      code: lostBy,
      hint: "this is the infrastructure's failure, not the script's; what the step started may still run",
    });
    this.#server = server;
    this.lostBy = lostBy;
    this.evidence = evidence;
  }

  /** The same with more evidence. */
  with(more: readonly string[]): JobLost {
    return new JobLost(this.#server, this.lostBy, [...this.evidence, ...more]);
  }
}
