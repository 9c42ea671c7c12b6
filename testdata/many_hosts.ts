/**
 * Hundreds of hosts: a fake ssh (bin/many_hosts/ssh) that is each of them, and what it has written of them.
 *
 * @module
 */
import { tempDir } from "./temp.ts";

/** The hosts, as far as davit can tell. */
export interface ManyHosts extends AsyncDisposable {
  /** For a davit under test: its ssh is the fake one. */
  readonly env: Readonly<Record<string, string>>;
  /** Lines of its log so far. */
  log(): Promise<string[]>;
  /** How many connections were opened, and how many were open at the most. */
  connections(): Promise<{ opened: number; peak: number; open: number }>;
}

/** What they are like. */
export interface ManyHostsOptions {
  /** Method to its result, and what it prints on channel 1 before. */
  readonly answers?: Readonly<Record<string, { readonly result: unknown; readonly text?: string }>>;
  readonly delayMs?: number;
  /** A line of sh that each host runs instead; $HOST is its name. */
  readonly exec?: string;
}

/** Debian programs that it needs; for needs(). */
export const MANY_HOSTS_PROGRAMS = ["perl"] as const;

const BIN = decodeURIComponent(new URL("./bin/many_hosts", import.meta.url).pathname);

/** Names of hosts: host001 and so on. */
export function hostNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `host${String(index + 1).padStart(3, "0")}`);
}

/** Prepares them; nothing runs until davit connects. */
export async function manyHosts({ answers = {}, delayMs = 200, exec }: ManyHostsOptions): Promise<ManyHosts> {
  const dir = await tempDir("many");
  const lines = Object.entries(answers).map(([method, { result, text }]) =>
    `${method}\t${JSON.stringify(result)}${text === undefined ? "" : `\t${text}`}\n`
  );
  await Deno.writeTextFile(dir.join("answers"), lines.join(""));
  await Deno.writeTextFile(dir.join("log"), "");
  const log = async () => (await Deno.readTextFile(dir.join("log"))).trimEnd().split("\n");
  return {
    env: {
      PATH: `${BIN}:${Deno.env.get("PATH")}`,
      MANY_HOSTS_ANSWERS: dir.join("answers"),
      MANY_HOSTS_LOG: dir.join("log"),
      MANY_HOSTS_DELAY_MS: String(delayMs),
      ...exec === undefined ? {} : { MANY_HOSTS_EXEC: exec },
      XDG_RUNTIME_DIR: dir.path,
    },
    log,
    async connections() {
      let [opened, open, peak] = [0, 0, 0];
      for (const line of await log()) {
        if (line.startsWith("open ")) {
          opened++;
          open++;
        } else if (line.startsWith("close ")) open--;
        peak = Math.max(peak, open);
      }
      return { opened, peak, open };
    },
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}
