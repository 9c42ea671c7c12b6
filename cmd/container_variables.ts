/**
 * `-e NAME=VALUE` of the commands that run something in containers.
 *
 * @module
 */
import { InvalidArgumentError } from "@commander-js/extra-typings";

/** A parser for a repeatable option. */
export function variables(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError(`expected NAME=VALUE, got "${text}"`);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
