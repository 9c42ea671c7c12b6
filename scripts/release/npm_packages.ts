/**
 * The npm packages of deno.lock, as far as a bill of materials wants to know them. Everything comes from the
 * lock file and from Deno's cache; nothing is downloaded.
 *
 * @module
 */
import { say, succeed } from "../compile/commands.ts";

/** One package of deno.lock. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** `name@version` of each. */
  readonly dependencies: readonly string[];
  /** Of the archive, from the lock file. */
  readonly checksum: { readonly algorithm: "SHA1" | "SHA256" | "SHA384" | "SHA512"; readonly hex: string };
  /** What its package.json says, where that can be an SPDX expression. */
  readonly license?: string;
  /** "direct": main.ts imports it. "indirect": one of those does. "dev": only tests and scripts do. */
  readonly use: "direct" | "indirect" | "dev";
}

interface LockedPackage {
  readonly integrity?: string;
  readonly dependencies?: readonly string[];
  readonly optionalDependencies?: readonly string[];
}

interface Graph {
  readonly modules: readonly { readonly kind?: string; readonly npmPackage?: string }[];
  readonly npmPackages: Readonly<Record<string, { readonly localPath?: string }>>;
}

const ALGORITHMS = { sha1: "SHA1", sha256: "SHA256", sha384: "SHA384", sha512: "SHA512" } as const;
const EXPRESSION = /^\(?[A-Za-z0-9.-]+\+?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9.-]+\+?\)?)*\)?$/;
/** These have the form of a licence's name in npm, and are none. */
const NO_LICENCE = new Set(["UNLICENSED", "NONE", "UNKNOWN"]);

/**
 * Reads `deno.lock` in `root` and the graph of its main.ts.
 *
 * @throws {Error} when something in the lock file could not be listed: a JSR package, a module from a URL, a
 * package without a checksum.
 */
export async function readNpmPackages(root: string): Promise<NpmPackage[]> {
  const lock = JSON.parse(await Deno.readTextFile(`${root}/deno.lock`));
  for (const kind of ["jsr", "remote", "redirects"]) {
    if (Object.keys(lock[kind] ?? {}).length > 0) {
      throw new Error(`Cannot list what "deno.lock" has under "${kind}": only npm packages were wanted`);
    }
  }
  const locked = new Map(Object.entries((lock.npm ?? {}) as Record<string, LockedPackage>));
  const info = await succeed([Deno.execPath(), "info", "--json", "main.ts"], { cwd: root });
  const { modules, npmPackages } = JSON.parse(info) as Graph;
  const direct = new Set(modules.flatMap(({ npmPackage }) => npmPackage === undefined ? [] : [npmPackage]));
  const used = closure(direct, locked);

  const packages = new Map<string, NpmPackage>();
  for (const [key, entry] of locked) {
    const { name, version } = partsOf(key);
    const id = `${name}@${version}`;
    // One package with different peers has an entry for each; what it is stays the same.
    const other = packages.get(id);
    const license = other?.license ?? await licenceOf(npmPackages[key]?.localPath);
    if (license === undefined) say(`no licence known for ${id}: Deno's cache does not tell`);
    const dependencies = dependenciesOf(entry, locked).map(partsOf).map((part) =>
      `${part.name}@${part.version}`
    );
    const use = direct.has(key) ? "direct" : used.has(key) ? "indirect" : "dev";
    const uses = ["direct", "indirect", "dev"] as const;
    packages.set(id, {
      name,
      version,
      dependencies: [...new Set([...other?.dependencies ?? [], ...dependencies])].sort(),
      checksum: checksumOf(key, entry.integrity),
      ...license !== undefined && { license },
      use: uses.find((one) => one === use || one === other?.use)!,
    });
  }
  return [...packages.values()];
}

/** `name@version`, and for peers `_other@version` once or more; an underscore is in no version. */
function partsOf(key: string): { name: string; version: string } {
  const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(key) ?? [];
  if (name === undefined || version === undefined) {
    throw new Error(`Cannot read "${key}" in "deno.lock": name@version was wanted`);
  }
  return { name, version };
}

/** Keys of the lock file: it leaves the version out where there is only one. */
function dependenciesOf(entry: LockedPackage, locked: ReadonlyMap<string, LockedPackage>): string[] {
  const wanted = [...entry.dependencies ?? [], ...entry.optionalDependencies ?? []];
  return wanted.map((dependency) => {
    const real = dependency.replace(/^.+@npm:/, ""); // under another name
    const key = locked.has(real) ? real : [...locked.keys()].find((each) => {
      const { name, version } = partsOf(each);
      return name === real || `${name}@${version}` === real;
    });
    if (key === undefined) throw new Error(`Cannot find "${dependency}" in "deno.lock", where it is needed`);
    return key;
  });
}

function closure(roots: Iterable<string>, locked: ReadonlyMap<string, LockedPackage>): Set<string> {
  const found = new Set<string>();
  const open = [...roots];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    if (found.has(key)) continue;
    found.add(key);
    open.push(...dependenciesOf(locked.get(key) ?? {}, locked));
  }
  return found;
}

function checksumOf(key: string, integrity: string | undefined): NpmPackage["checksum"] {
  const [, name, base64] = /^(sha\d+)-([A-Za-z0-9+/=]+)$/.exec(integrity ?? "") ?? [];
  const algorithm = ALGORITHMS[name as keyof typeof ALGORITHMS];
  if (algorithm === undefined) {
    throw new Error(`Cannot read the checksum of "${key}" in "deno.lock": got "${integrity ?? "none"}"`);
  }
  return { algorithm, hex: Uint8Array.fromBase64(base64!).toHex() };
}

async function licenceOf(directory: string | undefined): Promise<string | undefined> {
  if (directory === undefined) return undefined;
  try {
    const { license } = JSON.parse(await Deno.readTextFile(`${directory}/package.json`));
    const text = typeof license === "object" ? license?.type : license; // an object in old packages
    return typeof text === "string" && EXPRESSION.test(text) && !NO_LICENCE.has(text) ? text : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
