/**
 * `deno task demo`: what davit is for, on real input. A registry on loopback, a real image in it, eight jobs that
 * race for one file, a hit, and a damaged file noticed and healed, with the tool's own output shown. Everything
 * happens in a temporary directory and on 127.0.0.1, and is gone at the end.
 *
 * @module
 */
import { davitArgv, run, start } from "../testdata/run.ts";
import { makeSampleImage, must, startRegistry } from "../testdata/real_registry.ts";
import { tempDir } from "../testdata/temp.ts";
import { ensurePackages } from "./packages.ts";

const JOBS = 8;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function headline(text: string): void {
  say(`\n\x1b[1m== ${text}\x1b[0m`);
}

function indented(text: string): string {
  return text.trimEnd().split("\n").map((line) => `   ${line}`).join("\n");
}

await ensurePackages("demo");
await using dir = await tempDir("demo");
await using registry = await startRegistry();
headline("a registry on loopback, and an image of three layers in it");
await registry.push(await makeSampleImage(dir, 32 << 20), "1", "sample:1");
const uri = `docker://${registry.host}/sample:1`;
const output = dir.join("shared", "sample.sqsh");
say(`   ${uri}`);

const args = ["image", "import", uri, "--output", output, "--mkdir"];
const where = ["--allow-http", registry.host, "--cache-dir", dir.join("cache")];

/** Runs davit and shows what it says, as a user would see it in a log. */
async function show(words: string[], more: string[] = []): Promise<number> {
  say(`\n$ davit ${words.join(" ").replaceAll(dir.path, "")}`);
  const { code, stdout, stderr } = await run(davitArgv([...words, ...more]));
  if (stderr) say(indented(stderr.replaceAll(dir.path, "")));
  if (stdout) say(indented(stdout.replaceAll(dir.path, "")));
  say(`   [exit ${code}]`);
  return code;
}

headline(`${JOBS} jobs ask for one file at once`);
const jobs = Array.from({ length: JOBS }, () => start(davitArgv([...args, ...where, "--json"])));
for (const [number, job] of jobs.entries()) {
  const { code, stdout, stderr } = await job.done;
  if (code !== 0) throw new Error(`job ${number} failed: ${stderr}`);
  const { result, wait_s: waited, import_s: worked, sha256 } = JSON.parse(stdout);
  say(
    `   job ${number}: ${result.padEnd(8)} waited ${waited} s, worked ${worked} s, sha256 ${
      sha256.slice(0, 16)
    }…`,
  );
}
const gets = registry.requests().filter((line) => /^GET .*\/blobs\//.test(line));
say(`   the registry's log: ${gets.length} blobs sent (3 layers and the config), for ${JOBS} jobs`);

headline("the next job finds it");
await show(args, where);

headline("somebody damages the file: the jobs notice, heal it, and keep the evidence");
await must(["truncate", "-s", "-2000000", output]);
await show(["image", "check", output]);
await show(args, where);
await show(["image", "check", output, "--full"]);
const names = (await Array.fromAsync(Deno.readDir(dir.join("shared")))).map(({ name }) => name).sort();
say(`\n$ ls -A /shared\n${indented(names.join("\n"))}`);

headline("what is in it");
const listing = await must(["unsquashfs", "-lls", "-d", "", output]);
say(indented(listing.trim().split("\n").slice(-14).join("\n")));
say("\nAll of it is gone again; nothing outside a temporary directory was touched.");
