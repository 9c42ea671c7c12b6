/**
 * Reads docker's `config.json` and the `auth.json` of containers-auth.json(5): credentials by registry, or by
 * registry and the head of a repository's path, the longest match first.
 *
 * @module
 */

/** What proves who we are. */
export type Credentials =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, to be changed for a bearer token. */
  | { readonly kind: "identity"; readonly token: string }
  /** A bearer token ready for use. */
  | { readonly kind: "bearer"; readonly token: string };

/** The parts of a file that matter here. */
export interface AuthFile {
  /** By normalized key: no scheme, no API path, lower case. */
  readonly auths: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
  readonly helperHosts: readonly string[];
  readonly hasStore: boolean;
}

/** What a file has for a registry. */
export interface AuthMatch {
  readonly credentials?: Credentials | undefined;
  /** Entries that would have matched but make no sense. */
  readonly badKeys: readonly string[];
  /** A helper program, which is not run, is said to have credentials. */
  readonly hasHelper: boolean;
}

/** Reads the text of a file; throws a SyntaxError, whose message may quote the text. */
export function parseAuthFile(text: string): AuthFile {
  const document = recordOf(text.trim() === "" ? {} : JSON.parse(text));
  const auths = new Map<string, Record<string, unknown>>();
  for (const [key, value] of Object.entries(recordOf(document.auths))) {
    auths.set(normalized(key), recordOf(value));
  }
  return {
    auths,
    helperHosts: Object.keys(recordOf(document.credHelpers)).map(normalized),
    hasStore: typeof document.credsStore === "string" && document.credsStore !== "",
  };
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

/** "https://index.docker.io/v1/" is how docker writes Docker Hub. */
function normalized(key: string): string {
  return key.toLowerCase().replace(/^https?:\/\//, "").replace(/\/(?:v[12]\/?)?$/, "");
}

/** Looks for the credentials of `repository` on a registry known by any of `hosts`; with `user`, only that one's. */
export function matchAuth(
  { auths, helperHosts, hasStore }: AuthFile,
  hosts: readonly string[],
  repository: string,
  user: string | undefined,
): AuthMatch {
  const badKeys: string[] = [];
  const parts = repository.split("/");
  for (let count = parts.length; count >= 0; count--) {
    for (const host of hosts) {
      const key = [host, ...parts.slice(0, count)].join("/");
      const entry = auths.get(key);
      if (entry === undefined || Object.keys(entry).length === 0) continue;
      const credentials = credentialsOf(entry);
      if (credentials === undefined) badKeys.push(key);
      else if (user === undefined || credentials.kind !== "basic" || credentials.username === user) {
        return { credentials, badKeys, hasHelper: false };
      }
    }
  }
  return { badKeys, hasHelper: hasStore || hosts.some((host) => helperHosts.includes(host)) };
}

function credentialsOf(entry: Readonly<Record<string, unknown>>): Credentials | undefined {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  if (isText(registrytoken)) return { kind: "bearer", token: registrytoken };
  if (isText(identitytoken)) return { kind: "identity", token: identitytoken };
  if (isText(auth)) return decoded(auth);
  return isText(username) && isText(password) ? { kind: "basic", username, password } : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function decoded(auth: string): Credentials | undefined {
  let text: string;
  try {
    text = new TextDecoder().decode(Uint8Array.from(atob(auth), (char) => char.charCodeAt(0)));
  } catch (error) {
    if (error instanceof DOMException) return undefined; // no base64: the caller names the entry
    throw error;
  }
  const colon = text.indexOf(":");
  if (colon < 1) return undefined;
  // docker's own encoder pads with zero bytes.
  return {
    kind: "basic",
    username: text.slice(0, colon),
    password: text.slice(colon + 1).replace(/\0+$/, ""),
  };
}
