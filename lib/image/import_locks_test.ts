import assert from "node:assert/strict";
import { listImage, namesIn, setStage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { fuse, needs } from "../../testdata/needs.ts";
import { davitArgv, davitEnv, run } from "../../testdata/run.ts";
import { must } from "../../testdata/real_registry.ts";
import type { ImportResult } from "./import.ts";

const traced = needs({ root: true, programs: [...STAGE_PROGRAMS, "strace"] });
const CLEAN = ["image.sqsh", "image.sqsh.json", "image.sqsh.lock"];

Deno.test({
  name: "image import: refused locks cost a duplicate import, not a job",
  ...traced,
  async fn(t) {
    await using stage = await setStage();
    for (const errno of ["ENOLCK", "ENOSYS", "EOPNOTSUPP"]) {
      await t.step(errno, async () => {
        for (const name of await namesIn(stage.shared)) await Deno.remove(`${stage.shared}/${name}`);
        const argv = [
          "strace",
          "-f",
          "-qq",
          "-o",
          "/dev/null",
          "-e",
          "trace=flock",
          "-e",
          `inject=flock:error=${errno}`,
        ];
        const jobs = [1, 2, 3, 4].map(() =>
          run([...argv, ...davitArgv(stage.args("--json"))], { env: davitEnv() })
        );
        const ended = await Promise.all(jobs);
        for (const { code, stderr } of ended) assert.equal(code, 0, stderr);
        const results = ended.map(({ stdout }) => JSON.parse(stdout) as ImportResult);
        // Who comes when the image is already there asks for no lock.
        const locked = results.filter(({ result }) => result !== "hit");
        assert.ok(locked.length > 0);
        for (const { warnings } of locked) assert.match(warnings.join("\n"), /lock is refused/);
        assert.equal(await listImage(stage.output), stage.expected);
        const left = (await namesIn(stage.shared)).filter((name) => !name.startsWith(".image.sqsh.old."));
        assert.deepEqual(left, CLEAN);
      });
    }
  },
});

Deno.test({
  name: "image import: two mounts whose locks do not meet",
  ...needs({
    root: true,
    programs: [...STAGE_PROGRAMS, "sshfs", "fusermount3", "/usr/lib/openssh/sftp-server"],
    kernel: [fuse],
  }),
  async fn() {
    await using stage = await setStage();
    const ssh = stage.dir.join("ssh");
    await Deno.writeTextFile(ssh, "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n", { mode: 0o755 });
    const nodes = ["node1", "node2"].map((name) => stage.dir.join(name));
    for (const node of nodes) {
      await Deno.mkdir(node);
      await must(["sshfs", `there:${stage.shared}`, node, "-o", `ssh_command=${ssh}`]);
    }
    const jobs = [0, 1, 0, 1, 0, 1].map((node) =>
      stage.start(stage.args("--json").with(4, `${nodes[node]}/image.sqsh`)).done
    );
    const ends = await Promise.all(jobs);
    for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
    assert.match(ends.map(({ stderr }) => stderr).join(""), /locks reach only this node/);
    assert.equal(await listImage(stage.output), stage.expected);
    for (const node of nodes) await must(["fusermount3", "-u", node]);
  },
});
