/**
 * How davit comes to a host that has none: a constant line for the POSIX shell there looks for the portable file by
 * a hash of its content, takes it from standard input where it is absent, and becomes it. Only the hash, the size
 * and a small number of ours stand in that line.
 *
 * @module
 */
import { Failure, messageOf } from "../../failure.ts";
import { selfFacts } from "../self.ts";

/** The far end's program: a portable file that is pushed when absent (ours by default), or words to run there. */
export type Agent =
  | { readonly kind: "push"; readonly file?: string }
  | { readonly kind: "command"; readonly words: readonly string[] };

/** What is pushed. */
export interface PortableFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** SHA-256 of the index with all its parts' hashes, or of a file that has none; hex. */
  readonly contentHash: string;
}

/** What every agent is called with. */
export const AGENT_ARGUMENTS: readonly string[] = ["container", "agent"];

/** What the script says, on a line of its own. "failed" and a number: go on behind that place. */
export const PUSH_LINE_REGEXP = /^davit-push (present|absent|failed|nowhere)(?: (\d))?\r?$/;

/**
 * Arguments: content hash, size, how many places to leave out. Without single quotes, backslashes, exclamation marks and
 * newlines: in ssh's command line the user's login shell reads it, which may be csh or fish. `-x` on an empty
 * file tells a filesystem that is mounted noexec. A truncated copy cannot get the final name, and one that a crash
 * of the host truncated later is told by its size. Unused ones go after a month.
 */
const SCRIPT = [
  "m=$(umask); umask 077; u=$(id -u); i=0;",
  'for d in "$HOME/.cache/davit/agent" "/var/tmp/davit-$u" "/tmp/davit-$u"; do',
  'f="$d/davit-$1"; [ -h "$d" ] && continue; [ -h "$f" ] && continue;',
  'if [ -d "$d" ] && [ -O "$d" ] && [ -f "$f" ] && [ -O "$f" ] && [ -x "$f" ] &&',
  '[ "$(wc -c < "$f")" -eq "$2" ]; then',
  'touch -c "$f"; umask "$m"; echo; echo davit-push present; exec "$f" container agent; fi; done;',
  'for d in "$HOME/.cache/davit/agent" "/var/tmp/davit-$u" "/tmp/davit-$u"; do',
  'i=$((i+1)); [ "$i" -gt "$3" ] || continue;',
  'case "$d" in /.cache/*) continue;; esac;',
  'mkdir -p "$d" 2> /dev/null; [ -h "$d" ] && continue;',
  '[ -d "$d" ] || continue; [ -O "$d" ] || continue; chmod 700 "$d" || continue;',
  'find "$d" -maxdepth 1 -type f -mtime +30 -exec rm -f {} + 2> /dev/null;',
  // Twice its size, as it unpacks itself at its first start.
  'a=$(df -Pk "$d" 2> /dev/null | tail -n 1 | tr -s " " | cut -d " " -f 4);',
  '[ "$a" -gt "$(($2/512))" ] 2> /dev/null || continue;',
  't=$(mktemp "$d/.push.XXXXXX" 2> /dev/null) || continue; chmod 700 "$t";',
  '[ -x "$t" ] || { rm -f "$t"; continue; };',
  // A line with the SHA-256 of what follows: read takes not a byte more.
  'echo; echo davit-push absent; read -r w; [ "${#w}" -eq 64 ] || w=none;',
  'head -c "$2" > "$t"; h=0;',
  'if [ "$(wc -c < "$t")" -eq "$2" ]; then h=$w;',
  'if command -v sha256sum > /dev/null; then h=$(sha256sum < "$t");',
  'elif command -v openssl > /dev/null; then h=$(openssl dgst -sha256 < "$t"); fi; fi;',
  'case "$h" in *"$w"*) ;; *) rm -f "$t"; echo; echo davit-push failed "$i"; exit 1;; esac;',
  'f="$d/davit-$1"; mv -f "$t" "$f" || { rm -f "$t"; echo; echo davit-push failed "$i"; exit 1; };',
  'umask "$m"; exec "$f" container agent; done; echo; echo davit-push nowhere; exit 1',
].join(" ");

/** How many places the script knows. */
export const PUSH_PLACES = 3;

/** The words that run the script, for a program that takes words. */
export function pushWords({ contentHash, sizeBytes }: PortableFile, skippedPlaces: number): string[] {
  return ["/bin/sh", "-c", SCRIPT, "davit", contentHash, String(sizeBytes), String(skippedPlaces)];
}

/** The file to push. Throws a Failure (`no_agent_file`) where there is none, or it cannot be read. */
export async function portableToPush(file: string | undefined): Promise<PortableFile> {
  const facts = selfFacts();
  if (file === undefined && facts.mode !== "portable") {
    throw new Failure("CONFIG", `Cannot bring davit to other hosts: this one is not the portable file`, {
      code: "no_agent_file",
      hint: "name a portable file with --agent-file, or a davit that is there already with --agent",
    });
  }
  const path = file ?? facts.file;
  try {
    using opened = await Deno.open(path);
    const { size: sizeBytes } = await opened.stat();
    return { path, sizeBytes, contentHash: await indexHash(opened, sizeBytes) ?? await sha256Of(path) };
  } catch (cause) {
    throw new Failure(
      "NOINPUT",
      `Cannot read "${path}": ${messageOf(cause)}, wanted the portable file of davit`,
      {
        code: "no_agent_file",
        cause,
      },
    );
  }
}

/** scripts/launcher/parts.h describes the trailer; reading it takes 1 ms, hashing 44 MB ten to a hundred. */
const TRAILER_BYTES = 112;
const TRAILER_REGEXP = /^davit-index \d+ \d+ ([0-9a-f]{64}) *\n$/;

async function indexHash(file: Deno.FsFile, sizeBytes: number): Promise<string | undefined> {
  if (sizeBytes < TRAILER_BYTES) return undefined;
  const trailer = new Uint8Array(TRAILER_BYTES);
  await file.seek(-TRAILER_BYTES, Deno.SeekMode.End);
  for (let at = 0; at < TRAILER_BYTES;) {
    const count = await file.read(trailer.subarray(at));
    if (count === null) return undefined;
    at += count;
  }
  return TRAILER_REGEXP.exec(new TextDecoder().decode(trailer))?.[1];
}

async function sha256Of(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}

/** Writes the file to the waiting script. A far end that is gone is told by what it says, not here. */
export async function sendPortable({ path }: PortableFile, stdin: WritableStream<Uint8Array>): Promise<void> {
  const sha256 = await sha256Of(path);
  using file = await Deno.open(path);
  const buffer = new Uint8Array(256 << 10);
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(`${sha256}\n`));
    for (let count = await file.read(buffer); count !== null; count = await file.read(buffer)) {
      await writer.write(buffer.slice(0, count));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  } finally {
    writer.releaseLock();
  }
}
