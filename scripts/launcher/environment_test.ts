import assert from "node:assert/strict";
import { VERSION } from "../../lib/version.ts";
import { needs } from "../../testdata/needs.ts";
import { type PortableStage, setPortableStage, STAGE_PROGRAMS } from "../../testdata/portable_stage.ts";
import { readEnvironment } from "../../testdata/raw_exec.ts";
import { must } from "../../testdata/real_registry.ts";
import { davit } from "../../testdata/run.ts";

const stageNeeds = needs({ programs: STAGE_PROGRAMS });
const VERSION_LINE = `davit ${VERSION}\n`;

/** Says that it was run: as a preloaded library, as an auditing one, and in libc's place. */
const HOSTILE_LIBRARY = String.raw`
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void sprung(void) { close(open(TRAP, O_CREAT | O_WRONLY, 0600)); }
unsigned la_version(unsigned version) { sprung(); return version; }
`;

/** A directory with things that somebody may want davit to load; whatever of them runs makes `trap`. */
async function setTraps(
  { dir }: PortableStage,
): Promise<{ trap: string; library: string; script: string; home: string }> {
  const trap = dir.join("trap");
  // Who opens this waits for ever, as for a file of a dead server.
  const home = dir.join("home");
  await Deno.mkdir(home);
  await must(["mkfifo", `${home}/.npmrc`]);
  const library = dir.join("traps/libc.so.6");
  const script = dir.join("traps/required.cjs");
  await Deno.mkdir(dir.join("traps"));
  await Deno.writeTextFile(dir.join("traps/hostile.c"), HOSTILE_LIBRARY);
  await must(["cc", "-shared", "-fPIC", `-DTRAP="${trap}"`, "-o", library, dir.join("traps/hostile.c")]);
  await Deno.writeTextFile(script, `require("node:fs").writeFileSync(${JSON.stringify(trap)}, "");`);
  return { trap, library, script, home };
}

/** Entries that act on a loader, on deno, on node or on a library in it. */
function steeringEntries({ trap, library, script, home }: Awaited<ReturnType<typeof setTraps>>): string[] {
  return [
    `LD_PRELOAD=${library}`,
    `LD_LIBRARY_PATH=${library.slice(0, library.lastIndexOf("/"))}`,
    `LD_AUDIT=${library}`,
    "LD_DEBUG=all",
    `LD_DEBUG_OUTPUT=${trap}`,
    "LD_BIND_NOW=1",
    "LD_TRACE_LOADED_OBJECTS=1",
    "LD_SHOW_AUXV=1",
    "GLIBC_TUNABLES=glibc.malloc.check=3:glibc.rtld.nns=0:glibc.pthread.rseq=2",
    `GCONV_PATH=${trap}`,
    "MALLOC_ARENA_MAX=bad",
    `NODE_OPTIONS=--require ${script}`,
    `NODE_PATH=${library.slice(0, library.lastIndexOf("/"))}`,
    "NODE_CHANNEL_FD=77",
    "NODE_DEBUG=*",
    `NODE_V8_COVERAGE=${trap}`,
    "NODE_UNIQUE_ID=1",
    "DENO_PERMISSION_BROKER_PATH=/nonexistent/socket",
    "DENO_V8_FLAGS=--no-such-flag",
    "DENO_LOG=debug",
    `DENO_COVERAGE_DIR=${trap}`,
    `DENO_AUDIT_PERMISSIONS=${trap}`,
    `DENO_DIR=${trap}`,
    "DENO_AUTO_SERVE=1",
    "DENO_COMPAT=1",
    "DENO_CONDITIONS=x",
    "DENO_STARTUP_PHASES=1",
    "DENO_TRACE_PERMISSIONS=1",
    "DENO_UNSTABLE_CONTROL_SOCK=unix:/nonexistent",
    "DENO_TOKIO_EVENT_INTERVAL=0",
    "DENO_TLS_CA_STORE=nonsense",
    "DENO_CERT=/nonexistent",
    "OTEL_DENO=true",
    "OTEL_EXPORTER_OTLP_ENDPOINT=nonsense",
    "RUST_LOG=trace",
    "RUST_BACKTRACE=full",
    "RUST_MIN_STACK=1",
    "TOKIO_WORKER_THREADS=0",
    `ICU_DATA=${trap}`,
    "SIMDUTF_FORCE_IMPLEMENTATION=nonsense",
    `SSLKEYLOGFILE=${trap}`,
    "COMPLETE=bash",
    `HOME=${home}`,
    "NPM_CONFIG_REGISTRY=nonsense",
    "JSR_URL=nonsense",
    "HTTPS_PROXY=nonsense",
    "DAVIT_LAUNCHED=/tmp\n/bin/sh",
    "DAVIT_KEPT_LD_PRELOAD=mine",
    "DAVIT_KEPT_DAVIT_KEPT_X=mine",
  ];
}

Deno.test({
  name: "portable file: variables that steer loader, runtime or node neither break nor steer it",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("environment");
    const traps = await setTraps(stage);
    const entries = steeringEntries(traps);

    /** A stranger's words on stderr would be the runtime's: davit has nothing to say here. */
    async function holds(given: readonly string[]): Promise<void> {
      const { code, stdout, stderr } = await stage.runDavit(["--version"], given);
      assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: VERSION_LINE, stderr: "" });
      const { result, entries } = await stage.handedOn(given);
      assert.equal(result.code, 0, result.stderr);
      assert.equal(result.stderr, "");
      assert.deepEqual(entries, [...given].sort());
      await assert.rejects(Deno.lstat(traps.trap), Deno.errors.NotFound, "a trap was sprung");
    }

    for (const entry of entries) {
      await t.step(entry.slice(0, entry.indexOf("=")), () => holds([entry]));
    }
    await t.step("all of them", () => holds(entries));
  },
});

Deno.test({
  name: "portable file: an odd environment does not break it, and is handed on byte by byte",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("odd-environment");
    const thousand = Array.from({ length: 1_000 }, (_, number) => `NODE_${number}=${"x".repeat(number)}`);
    const environments: Record<string, { given: string[]; handed?: string[] }> = {
      "empty": { given: [] },
      "HOME and PATH empty": { given: ["HOME=", "PATH="] },
      "HOME relative, PATH of nothing": { given: ["HOME=here", "PATH=/nonexistent"] },
      "no PATH": { given: ["HOME=/nonexistent"] },
      "a thousand": { given: thousand },
      "100,000 bytes": { given: [`LD_LONG=${"y".repeat(100_000)}`, `LONG=${"z".repeat(100_000)}`] },
      "empty values": { given: ["LD_PRELOAD=", "NODE_OPTIONS=", "A="] },
      "newlines, equals signs": { given: ["LD_A=\n\n=", "A=\n=\t", "DENO_X=a=b=c"] },
      "UTF-8": { given: ["LD_A=\xc3\xa9", "LD_\xc3\xa9=1", "\xe2\x82\xac=\xf0\x9f\x98\x80"] },
      "no UTF-8": {
        given: [
          "LD_A=\xff",
          "LD_B\xfe=1",
          "LD_C=\xc3",
          "NODE_D=\xed\xa0\x80",
          "A=\xff",
          "\xff=1",
          "LD_E=good",
        ],
      },
      "no UTF-8 in our own": {
        given: ["DAVIT_KEPT_A=\xff", "DAVIT_LAUNCHED=\xff", "DAVIT_KEPT_DAVIT_KEPT_A=\xfe", "LD_\xff=\xff"],
      },
      "a kept one of the same name": {
        given: ["LD_PRELOAD=", "DAVIT_KEPT_LD_PRELOAD=", "DAVIT_KEPT_=x", "DAVIT_KEPT_A="],
      },
      // Deno hands on what is a variable, and of two of one name the last.
      "duplicates": {
        given: ["A=1", "A=2", "LD_A=1", "LD_A=2", "LD_B=\xff", "LD_B=\xfe"],
        handed: ["A=2", "LD_A=2", "LD_B=\xfe"],
      },
      "what Deno itself hands on to nobody": { given: ["DENO_EXTRA_STDIO_FDS=3,4", "B=1"], handed: ["B=1"] },
      "no variables": { given: ["LD_PRELOAD", "NODE_OPTIONS", "A", "", "B=1"], handed: ["B=1"] },
    };
    for (const [name, { given, handed = given }] of Object.entries(environments)) {
      await t.step(name, async () => {
        const version = await stage.runDavit(["--version"], given);
        assert.deepEqual([version.code, version.stdout, version.stderr], [0, VERSION_LINE, ""]);
        const { result, entries } = await stage.handedOn(given);
        assert.equal(result.code, 0, result.stderr);
        assert.deepEqual(entries, [...handed].sort());
      });
    }
  },
});

Deno.test({
  name: "portable file: what `vitals run` starts gets the environment that davit was given",
  ...stageNeeds,
  async fn() {
    await using stage = await setPortableStage("vitals-environment");
    const file = stage.dir.join("environ");
    const given = ["LD_AUDIT=/nonexistent/\xff", "NODE_OPTIONS=--x", "A=1", "DENO_DIR=/d", "COMPLETE=zsh"];
    const command = ["vitals", "run", "--", ...stage.raw.environ(file)];
    const { code, stderr } = await stage.runDavit(command, given);
    assert.equal(code, 0, stderr);
    assert.deepEqual(await readEnvironment(file), [...given, `DAVIT_CACHE=${stage.cache}`].sort());
  },
});

Deno.test("davit from source: the launcher's variables mean nothing without a launcher", async () => {
  for (const directory of ["/tmp", ""]) {
    const env = { DAVIT_LAUNCHED: `${directory}\n/bin/sh`, DAVIT_KEPT_DAVIT_LOCK_TIMEOUT: "nonsense" };
    const { code, stdout, stderr } = await davit(["self", "--json"], { env });
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).mode, "source");
  }
});
