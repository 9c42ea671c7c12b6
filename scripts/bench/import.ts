/**
 * `deno run -A scripts/bench/import.ts [--debootstrap] [--size MB]`: davit image import against the pattern it
 * replaces (flock around skopeo, umoci and mksquashfs with the same compression), in the same run, on the same
 * registry and machine. Prints times, peak memory and peak disk, and the ratios; asserts nothing.
 *
 * @module
 */
import { davitArgv, davitEnv, run, start } from "../../testdata/run.ts";
import { must, type RealRegistry, startRegistry } from "../../testdata/real_registry.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { ensurePackages } from "../packages.ts";

const RACERS = 30;
const HITS = 20;
const LONG_MS = 1_800_000;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** What one measured run took. */
interface Measured {
  seconds: number;
  /** Peak resident set of each program, MiB. */
  rss: Map<string, number>;
  /** Peak growth of the directory, MB. */
  disk: number;
}

/** Runs `argv` and samples memory by program and the size of `place` meanwhile. */
async function measure(argv: readonly string[], place: string): Promise<Measured> {
  const rss = new Map<string, number>();
  let disk = 0;
  let isDone = false;
  const begun = performance.now();
  const process = start(argv, { env: davitEnv(), timeoutMs: LONG_MS });
  const sampler = (async () => {
    while (!isDone) {
      for (const [name, mib] of await groupMemory(process.pid)) {
        rss.set(name, Math.max(rss.get(name) ?? 0, mib));
      }
      const { stdout } = await run(["du", "-sm", place]);
      disk = Math.max(disk, parseInt(stdout) || 0);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  })();
  const { code, stderr } = await process.done;
  const seconds = (performance.now() - begun) / 1000;
  isDone = true;
  await sampler;
  if (code !== 0) throw new Error(`${argv.join(" ")} exited ${code}: ${stderr}`);
  return { seconds, rss, disk };
}

/** Resident memory of a process and all below it, by program, from VmHWM. */
async function groupMemory(root: number): Promise<[string, number][]> {
  const { stdout } = await run(["ps", "-eo", "pid=,ppid=,comm="]);
  const rows = stdout.trim().split("\n").map((line) => line.trim().split(/\s+/));
  const family = new Set([root]);
  for (let grown = -1; grown !== family.size;) {
    grown = family.size;
    for (const [pid, parent] of rows) if (family.has(Number(parent))) family.add(Number(pid));
  }
  return rows.filter(([pid]) => family.has(Number(pid))).flatMap(([pid, , name]) => {
    try {
      const peak = /VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1];
      return peak === undefined ? [] : [[name!, Number(peak) / 1024] as [string, number]];
    } catch {
      return []; // it has ended between the two looks
    }
  });
}

const PEER = String.raw`
set -eu; reference=$1; file=$2; work=$3
exec 9>"$file.lock"; flock -w 3600 9
if ! unsquashfs -l "$file" >/dev/null 2>&1; then
  rm -rf "$file" "$work"; mkdir "$work"
  skopeo copy -q --src-tls-verify=false "docker://$reference" "oci:$work/oci:1"
  umoci unpack --image "$work/oci:1" "$work/bundle" >/dev/null 2>&1
  mksquashfs "$work/bundle/rootfs" "$file" -comp lz4 -no-progress >/dev/null
  rm -rf "$work"
fi`;

function describe(name: string, { seconds, rss, disk }: Measured): void {
  const memory = [...rss].filter(([, mib]) => mib > 20).map(([who, mib]) => `${who} ${mib.toFixed(0)} MiB`)
    .join(", ");
  say(
    `  ${name.padEnd(6)} ${seconds.toFixed(1).padStart(6)} s   peak disk ${
      String(disk).padStart(5)
    } MB   peak RSS ${memory}`,
  );
}

async function compare(
  title: string,
  dir: TempDir,
  registry: RealRegistry,
  repository: string,
): Promise<void> {
  const place = dir.join("bench");
  const reference = `${registry.host}/${repository}`;
  const args = (output: string, cache: string) =>
    davitArgv([
      "image",
      "import",
      `docker://${reference}`,
      "-o",
      output,
      "--cache-dir",
      cache,
      "--allow-http",
      registry.host,
      "--json",
    ]);
  say(`\n${title}`);
  await Deno.mkdir(place);
  const peer = await measure(
    ["bash", "-c", PEER, "peer", reference, `${place}/peer.sqsh`, `${place}/work`],
    place,
  );
  describe("peer", peer);
  await Deno.remove(place, { recursive: true });
  await Deno.mkdir(place);
  const ours = await measure(args(`${place}/davit.sqsh`, `${place}/cache`), place);
  describe("davit", ours);
  say(`  cold import: ${(peer.seconds / ours.seconds).toFixed(2)}x the peer's speed`);
  await hits(args(`${place}/davit.sqsh`, `${place}/cache`));
  await race(args, place, ours.seconds);
  await Deno.remove(place, { recursive: true });
}

async function hits(argv: string[]): Promise<void> {
  const whole: number[] = [];
  const inside: number[] = [];
  for (let i = 0; i < HITS; i++) {
    const begun = performance.now();
    const { stdout } = await run(argv, { env: davitEnv() });
    whole.push(performance.now() - begun);
    inside.push(JSON.parse(stdout).import_s * 1000);
  }
  const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!.toFixed(1);
  say(
    `  warm hit: ${median(inside)} ms of work, ${
      median(whole)
    } ms for the whole process (deno run, median of ${HITS})`,
  );
}

async function race(
  args: (output: string, cache: string) => string[],
  place: string,
  alone: number,
): Promise<void> {
  const begun = performance.now();
  const argv = args(`${place}/race.sqsh`, `${place}/race-cache`);
  const ends = await Promise.all(
    Array.from({ length: RACERS }, () => run(argv, { env: davitEnv(), timeoutMs: LONG_MS })),
  );
  const seconds = (performance.now() - begun) / 1000;
  const failed = ends.filter(({ code }) => code !== 0).length;
  say(
    `  ${RACERS} racers: ${seconds.toFixed(1)} s, ${failed} failed: ${
      (seconds / alone).toFixed(2)
    }x one import`,
  );
}

const MANY_LAYERS = new URL("./many_layers.sh", import.meta.url).pathname;

await ensurePackages("test");
await using dir = await tempDir("bench");
await using registry = await startRegistry();
const size = Deno.args.includes("--size") ? Deno.args[Deno.args.indexOf("--size") + 1]! : "1000";
if (Deno.args.includes("--debootstrap")) {
  await must(["debootstrap", "--variant=minbase", "bookworm", dir.join("debian")]);
  await must(["tar", "-C", dir.join("debian"), "-cf", dir.join("debian.tar"), "."]);
  await must(["umoci", "init", "--layout", dir.join("debian-oci")]);
  await must(["umoci", "new", "--image", `${dir.join("debian-oci")}:1`]);
  await must(["umoci", "raw", "add-layer", "--image", `${dir.join("debian-oci")}:1`, dir.join("debian.tar")]);
  await registry.push(dir.join("debian-oci"), "1", "debian:1");
  await compare("debootstrap image, one layer", dir, registry, "debian:1");
}
await run(["bash", MANY_LAYERS, dir.path, size], { timeoutMs: LONG_MS });
await registry.push(dir.join("many"), "1", "many:1");
await compare(`many-layer image of /usr, ${size} MB`, dir, registry, "many:1");
