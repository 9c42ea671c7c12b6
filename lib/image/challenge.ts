/**
 * Reads WWW-Authenticate (RFC 9110, section 11.6.1): what a registry wants before it answers.
 *
 * @module
 */

/** One way to prove who we are. */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAMETER_REGEXP = new RegExp(`^(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]*))`);
const SCHEME_REGEXP = new RegExp(`^(${TOKEN})(?=\\s|,|$)`);

/** All challenges of a header, in order; what is malformed ends the reading. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let rest = header;
  while ((rest = rest.replace(/^[\s,]+/, "")) !== "") {
    const parameter = PARAMETER_REGEXP.exec(rest);
    const scheme = parameter ? null : SCHEME_REGEXP.exec(rest);
    if (parameter && challenges.length > 0) {
      const value = parameter[2]?.replace(/\\(.)/g, "$1") ?? parameter[3] ?? "";
      challenges.at(-1)!.parameters.set(parameter[1]!.toLowerCase(), value);
    } else if (scheme) challenges.push({ scheme: scheme[1]!.toLowerCase(), parameters: new Map() });
    else break;
    rest = rest.slice((parameter ?? scheme)![0].length);
  }
  return challenges;
}
