/**
 * Whether a request shows the server's token, without telling by the time that it takes how much of it was right.
 *
 * @module
 */

/** Compares a text with `token`. */
export function tokenCheck(token: string): (shown: string) => boolean {
  const wanted = new TextEncoder().encode(token);
  return (shown) => {
    const bytes = new TextEncoder().encode(shown);
    // As many steps for every text: only its own length shows, not how much of it was right.
    let difference = bytes.length ^ wanted.length;
    for (let at = 0; at < wanted.length; at++) difference |= wanted[at]! ^ (bytes[at] ?? 0);
    return difference === 0;
  };
}

/** The token in an `Authorization` header; empty where there is none. */
export function bearerOf(header: string | null): string {
  return /^Bearer +(\S+)\s*$/i.exec(header ?? "")?.[1] ?? "";
}
