import assert from "node:assert/strict";
import { parse } from "yaml";
import { needs } from "../../testdata/needs.ts";
import { davitArgv, davitEnv, run, start, startDavit } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";

const EXAMPLES = new URL("../../examples/vitals/", import.meta.url).pathname;
const SAMPLE_REGEXP = /kind=sample/;

/** A `davit` on PATH that is the one under test. */
async function placeDavit(dir: TempDir): Promise<string> {
  const line = davitArgv([]).map((word) => `'${word}'`).join(" ");
  await Deno.mkdir(dir.join("bin"));
  await Deno.writeTextFile(dir.join("bin/davit"), `#!/bin/sh\nexec ${line} "$@"\n`, { mode: 0o755 });
  return dir.join("bin");
}

/** The arguments of davit in an example, its paths changed to ones that a test has. */
function davitArgs(words: readonly string[], paths: Record<string, string>): string[] {
  assert.match(words[0]!, /(?:^|\/)davit$/);
  return words.slice(1).map((word) => paths[word] ?? word);
}

Deno.test("examples/vitals/Dockerfile has an ENTRYPOINT that passes the command's status on", async () => {
  await using dir = await tempDir("example");
  const text = await Deno.readTextFile(`${EXAMPLES}Dockerfile`);
  const words: string[] = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(text)![1]!);
  assert.ok(Array.isArray(JSON.parse(/^CMD (\[.*\])$/m.exec(text)![1]!)));
  const log = dir.join("termination-log");
  await Deno.writeTextFile(log, ""); // Kubernetes makes it
  const args = davitArgs(words, { "/dev/termination-log": log });
  await using davit = startDavit([...args, "sh", "-c", "sleep 1; exit 7"], { cwd: dir.path });
  const { code, stdout } = await davit.done;
  assert.equal(code, 7);
  assert.match(stdout, SAMPLE_REGEXP);
  assert.match(await Deno.readTextFile(log), /kind=end .*code=7/);
});

Deno.test("examples/vitals/daemonset.yaml keeps its ring on the host and mounts what it names", async () => {
  await using dir = await tempDir("example");
  const { spec: { template, selector } } = parse(await Deno.readTextFile(`${EXAMPLES}daemonset.yaml`));
  assert.deepEqual(template.metadata.labels, selector.matchLabels);
  const { containers: [{ args, volumeMounts, securityContext }], volumes, tolerations } = template.spec;
  assert.deepEqual(tolerations, [{ operator: "Exists" }]);
  assert.equal(securityContext.privileged, true);
  for (const { name } of volumeMounts) {
    assert.ok(volumes.some((volume: { name: string }) => volume.name === name));
  }
  for (const { hostPath } of volumes) assert.ok(hostPath.path.startsWith("/"));
  await runWithRing(dir, args, { "/ring/vitals.ring": dir.join("vitals.ring"), "/ring": dir.path });
});

Deno.test({
  name: "examples/vitals/davit-vitals.service is a unit that systemd takes, and runs",
  ...needs({ programs: ["systemd-analyze"] }),
  async fn(t) {
    await using dir = await tempDir("example");
    const text = await Deno.readTextFile(`${EXAMPLES}davit-vitals.service`);
    const command = /^ExecStart=(.*)$/m.exec(text)![1]!;
    await t.step("systemd-analyze verify", async () => {
      const bin = await placeDavit(dir);
      const unit = dir.join("davit-vitals.service");
      await Deno.writeTextFile(unit, text.replace("/usr/local/bin/davit ", `${bin}/davit `));
      const { code, stderr } = await run(["systemd-analyze", "verify", "--man=no", unit]);
      assert.deepEqual(
        [code, stderr.split("\n").filter((line) => line.includes("davit-vitals"))],
        [0, []],
        stderr,
      );
    });
    await t.step("its command", () =>
      runWithRing(dir, command.split(" "), {
        "/var/log/davit/vitals.ring": dir.join("vitals.ring"),
        "/var/log/davit": dir.path,
      }));
  },
});

/** Runs davit as an example has it until a sample came, ends it, and has the ring read. */
async function runWithRing(
  dir: TempDir,
  words: readonly string[],
  paths: Record<string, string>,
): Promise<void> {
  await using davit = startDavit(davitArgs(words, paths), { cwd: dir.path });
  await davit.waitFor(SAMPLE_REGEXP, 30_000);
  davit.kill("SIGTERM");
  assert.equal((await davit.done).code, 0);
  await using report = startDavit(["vitals", "report", dir.join("vitals.ring"), "--json"]);
  const { logs: [log] } = JSON.parse((await report.done).stdout);
  assert.equal(log.class, "polite_end");
  assert.ok(log.samples >= 1);
}

/** Runs a script of an example as slurmd would. */
async function slurmd(script: string, env: Record<string, string | undefined>) {
  return await run([`${EXAMPLES}${script}`], { env: davitEnv(env), timeoutMs: 120_000 });
}

Deno.test("examples/vitals: the Slurm prolog and epilog leave a report of the job", async () => {
  await using dir = await tempDir("example");
  const bin = await placeDavit(dir);
  const env = {
    PATH: `${bin}:${Deno.env.get("PATH")}`,
    SLURM_JOB_ID: "4711",
    DAVIT_VITALS_DIR: dir.join("vitals"),
  };
  const prolog = await slurmd("slurm_prolog.sh", env);
  assert.deepEqual([prolog.code, prolog.stderr], [0, ""]);
  const pid = (await Deno.readTextFile(dir.join("vitals/job-4711.pid"))).trim();
  await using _guard = { [Symbol.asyncDispose]: async () => void await run(["kill", "-9", pid]) };
  await using watcher = start([
    "sh",
    "-c",
    `until grep -aq kind=sample "$0"; do sleep 0.2; done`,
    dir.join("vitals/job-4711.ring"),
  ]);
  await watcher.done;
  const epilog = await slurmd("slurm_epilog.sh", env);
  assert.deepEqual([epilog.code, epilog.stderr], [0, ""]);
  assert.match(
    await Deno.readTextFile(dir.join("vitals/job-4711.report.txt")),
    /\(polite_end\), confidence high/,
  );
  await assert.rejects(Deno.stat(`/proc/${pid}`), Deno.errors.NotFound);
});

Deno.test({
  name: "examples/vitals: no Slurm script ends with anything but 0",
  ...needs({ programs: ["shellcheck"] }),
  async fn(t) {
    await using dir = await tempDir("example");
    const bin = await placeDavit(dir);
    const path = `${bin}:${Deno.env.get("PATH")}`;
    await Deno.writeTextFile(dir.join("file"), "");
    await Deno.mkdir(dir.join("stale"));
    await Deno.writeTextFile(dir.join("stale/job-1.pid"), "1\n"); // another's process: it must live on
    await Deno.mkdir(dir.join("garbage"));
    await Deno.writeTextFile(dir.join("garbage/job-1.pid"), "../../x\n");
    const cases: Record<string, Record<string, string | undefined>> = {
      "no job": { SLURM_JOB_ID: undefined },
      "no davit": { DAVIT: dir.join("none") },
      "a directory that cannot be made": { DAVIT_VITALS_DIR: dir.join("file/vitals") },
      "another's process": { DAVIT: "/bin/false", DAVIT_VITALS_DIR: dir.join("stale") },
      "garbage for a process": { DAVIT: "/bin/false", DAVIT_VITALS_DIR: dir.join("garbage") },
    };
    for (const [name, change] of Object.entries(cases)) {
      for (const script of ["slurm_epilog.sh", "slurm_prolog.sh"]) {
        await t.step(`${script}: ${name}`, async () => {
          const env = { PATH: path, SLURM_JOB_ID: "1", DAVIT_VITALS_DIR: dir.join("vitals"), ...change };
          assert.equal((await slurmd(script, env)).code, 0);
        });
      }
    }
    await t.step("shellcheck", async () => {
      const { code, stdout } = await run([
        "shellcheck",
        `${EXAMPLES}slurm_prolog.sh`,
        `${EXAMPLES}slurm_epilog.sh`,
      ]);
      assert.equal(code, 0, stdout);
    });
  },
});
