/**
 * Image references as enroot and the launchers write them, and the file name that the launchers make of one.
 * Grammar: `docker://[USER@][REGISTRY#]IMAGE[:TAG][@sha256:HEX]` (enroot's import), with names and tags as in the
 * OCI distribution specification v1.1 ("Pulling manifests").
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";

/** Docker Hub's API host: what an image without a registry comes from. */
export const DOCKER_HUB = "registry-1.docker.io";

const HUB_ALIASES = ["docker.io", "index.docker.io"];
const FORM = "docker://[USER@][REGISTRY#]IMAGE[:TAG][@sha256:HEX]";
const MAX_LENGTH = 2048;
const MAX_REPOSITORY_LENGTH = 255;
const REGISTRY_REGEXP =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/;
const COMPONENT_REGEXP = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** One image in one registry. At least one of `tag` and `digest` is there; with both, the digest decides. */
export interface Reference {
  /** The login whose credentials are wanted. */
  readonly user?: string | undefined;
  /** Host, or host:port, in lower case. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string | undefined;
  /** "sha256:" and 64 hexadecimal digits. */
  readonly digest?: string | undefined;
}

/** Reads a reference, the leading `docker://` being optional; throws a Failure that points at the bad character. */
export function parseReference(text: string): Reference {
  if (text.length > MAX_LENGTH) throw bad(text, MAX_LENGTH, `is longer than ${MAX_LENGTH} characters`);
  const start = schemeLength(text);
  const { end, digest } = splitDigest(text, start);
  const { user, at } = splitUser(text, start, end);
  const { registry, imageAt } = splitRegistry(text, at, end);
  const colon = text.slice(imageAt, end).indexOf(":");
  const imageEnd = colon < 0 ? end : imageAt + colon;
  checkRepository(text, imageAt, imageEnd);
  const tagText = colon < 0 ? "" : text.slice(imageEnd + 1, end);
  checkTag(text, imageEnd + 1, tagText);
  let repository = text.slice(imageAt, imageEnd);
  if (registry === DOCKER_HUB && !repository.includes("/")) repository = `library/${repository}`;
  const tag = tagText || (digest ? undefined : "latest");
  return { ...(user && { user }), registry, repository, ...(tag && { tag }), ...(digest && { digest }) };
}

/** The one way to write `reference`; parsing it gives the same reference again. */
export function formatReference({ user, registry, repository, tag, digest }: Reference): string {
  return `docker://${user ? `${user}@` : ""}${registry}${
    looksLikeRegistry(registry) ? "/" : "#"
  }${repository}` +
    `${tag ? `:${tag}` : ""}${digest ? `@${digest}` : ""}`;
}

/** The file name that the launchers' `sed 's/[\/:@#]/_/g'` gives an image, as typed. */
export function imageFileName(text: string): string {
  return `${text.replace(/^docker:\/\//, "").replace(/[/:@#]/g, "_")}.sqsh`;
}

function schemeLength(text: string): number {
  const scheme = /^([^/:@#]*):\/\//.exec(text);
  if (!scheme) return 0;
  if (scheme[1] !== "docker") throw bad(text, 0, `has the scheme "${shown(scheme[1]!)}", expected "docker"`);
  return scheme[0].length;
}

function splitDigest(text: string, start: number): { end: number; digest?: string } {
  // ":sha256:" is how enroot 3 wants it; a "sha256:" that begins the image itself is no digest.
  const match = /[@:](sha256:[^@#/]*)$/.exec(text.slice(start));
  const other = match ? null : /[@:]sha(?:1|224|384|512):[^@#/]*$/.exec(text.slice(start));
  if (other) throw bad(text, start + other.index + 1, "has a digest of another kind, expected sha256");
  if (!match) return { end: text.length };
  const end = start + match.index;
  const hexAt = end + "@sha256:".length;
  const wrong = text.slice(hexAt).search(/[^0-9a-f]/);
  if (wrong >= 0) throw bad(text, hexAt + wrong, "has a bad digit in its digest, expected 0-9 or a-f");
  const count = text.length - hexAt;
  if (count !== 64) {
    throw bad(text, Math.min(text.length, hexAt + 64), `has a digest of ${count} digits, expected 64`);
  }
  return { end, digest: match[1]! };
}

function splitUser(text: string, start: number, end: number): { user?: string; at: number } {
  const length = text.slice(start, end).search(/[/#]/);
  const head = text.slice(start, length < 0 ? end : start + length);
  const atSign = head.lastIndexOf("@");
  if (atSign < 0) return { at: start };
  const user = head.slice(0, atSign);
  if (user === "") throw bad(text, start, "has no user before the @");
  const colon = user.indexOf(":");
  if (colon >= 0) {
    // Perhaps a password: this text is not shown again.
    throw new Failure(
      "USAGE",
      `Cannot read the image reference: its user has a ":" at character ${start + colon + 1}`,
      {
        code: "bad_reference",
        hint:
          "passwords belong in ~/.config/enroot/.credentials or ~/.docker/config.json, never in a reference",
      },
    );
  }
  // deno-lint-ignore no-control-regex -- control characters are refused here
  const wrong = user.search(/[\s\u0000-\u001f\u007f-\u009f]/);
  if (wrong >= 0) throw bad(text, start + wrong, "has a blank or control character in its user");
  return { user, at: start + atSign + 1 };
}

function looksLikeRegistry(text: string): boolean {
  return /[.:]/.test(text) || text === "localhost";
}

function splitRegistry(text: string, at: number, end: number): { registry: string; imageAt: number } {
  const rest = text.slice(at, end);
  const hash = rest.indexOf("#");
  const slash = rest.indexOf("/");
  const length = hash >= 0 && (slash < 0 || hash < slash)
    ? hash
    : slash >= 0 && looksLikeRegistry(rest.slice(0, slash))
    ? slash
    : undefined;
  if (length === undefined) return { registry: DOCKER_HUB, imageAt: at };
  const registry = rest.slice(0, length).toLowerCase();
  const port = REGISTRY_REGEXP.exec(registry);
  if (!port || (port[1] && (Number(port[1]) < 1 || Number(port[1]) > 65_535))) {
    const wrong = registry.search(/[^a-z0-9.:[\]-]/);
    throw bad(text, at + Math.max(wrong, 0), "has a bad registry, expected HOST or HOST:PORT");
  }
  return { registry: HUB_ALIASES.includes(registry) ? DOCKER_HUB : registry, imageAt: at + length + 1 };
}

function checkRepository(text: string, from: number, to: number): void {
  const repository = text.slice(from, to);
  if (repository === "") throw bad(text, from, "has no image name");
  const wrong = repository.search(/[^a-z0-9._/-]/);
  if (wrong >= 0) {
    const upper = /[A-Z]/.test(repository[wrong]!);
    throw bad(
      text,
      from + wrong,
      upper
        ? "has a capital letter in its image name, expected lower case"
        : "has a bad character in its image name",
    );
  }
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    throw bad(
      text,
      from + MAX_REPOSITORY_LENGTH,
      `has an image name longer than ${MAX_REPOSITORY_LENGTH} characters`,
    );
  }
  let at = from;
  for (const component of repository.split("/")) {
    if (!COMPONENT_REGEXP.test(component)) {
      const good = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/.exec(component)?.[0].length ?? 0;
      throw bad(text, at + good, "has a misplaced separator in its image name");
    }
    at += component.length + 1;
  }
}

function checkTag(text: string, at: number, tag: string): void {
  const wrong = tag.search(/[^A-Za-z0-9._-]/);
  if (wrong >= 0) throw bad(text, at + wrong, "has a bad character in its tag");
  if (/^[.-]/.test(tag)) throw bad(text, at, "has a tag that begins with a separator");
  if (tag.length > 128) throw bad(text, at + 128, "has a tag longer than 128 characters");
}

function bad(text: string, index: number, what: string): Failure {
  const position = [...text.slice(0, index)].length + 1;
  // A window around the place keeps long input readable.
  const from = Math.max(0, index - 100);
  const before = shown(text.slice(from, index));
  const after = shown(text.slice(index, index + 40));
  return new Failure("USAGE", `Cannot read the image reference: it ${what}, at character ${position}`, {
    code: "bad_reference",
    hint: `expected ${FORM}\n  ${before}${after}\n  ${" ".repeat([...before].length)}^`,
  });
}

function shown(text: string): string {
  return escapeControls(text.slice(0, 400));
}
