/**
 * What a registry's status codes mean for us (RFC 9110; error codes of the OCI distribution specification v1.1).
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { parseRetryAfter } from "../host/backoff.ts";
import { TransientFault } from "./fault.ts";
import { type Answer, protocolFailure } from "./transport.ts";

/**
 * Returns when the status says success; otherwise the body is dropped and a TransientFault (408, 429, 5xx) or a
 * Failure is thrown. `what` completes "Cannot …".
 */
export async function assertAnswered(answer: Answer, what: string): Promise<void> {
  const { status, headers, host } = answer;
  if (status >= 200 && status < 300) return;
  await answer.discard();
  if (status === 408 || status === 429 || status >= 500) {
    const retryAfterMs = parseRetryAfter(headers.get("retry-after"));
    throw new TransientFault(`"${host}" answered ${status}`, { retryAfterMs });
  }
  if (status === 404) {
    throw new Failure("NOINPUT", `Cannot ${what}: "${host}" does not have it`, {
      code: "registry_not_found",
      hint: "check the image's name and tag",
    });
  }
  if (status === 401 || status === 403) {
    throw new Failure("NOPERM", `Cannot ${what}: "${host}" answered ${status}`, {
      code: "registry_denied",
      hint: "check the credentials for this registry",
    });
  }
  throw protocolFailure(`Cannot ${what}: "${host}" answered ${status}`);
}
