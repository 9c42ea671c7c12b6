/**
 * Provisioning on this machine with podman: scripts of any size and habit, and what a failing one leaves.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ended, hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "local") }),
  name: "container provisioning: once, whole, and never ready when it failed",
  async fn(t) {
    await using hosts = await startContainerHosts({
      runtime: "podman",
      fanOut: "local",
      names: ["localhost"],
    });
    const script = async (name: string, text: string) => {
      await Deno.writeTextFile(hosts.dir.join(name), text);
      return hosts.dir.join(name);
    };
    const inside = (box: string, ...argv: string[]) => hosts.cli("localhost", "exec", box, ...argv);

    await t.step(
      "a script of 1 MB that reads its standard input runs to its end, and only once",
      async () => {
        const text = `#!/bin/sh\nset -e\necho one >> /log\ncat > /input\n: ${
          "#".repeat(1 << 20)
        }\necho two >> /log\n`;
        const start = await script("start.sh", "#!/bin/sh\necho started >> /log\n");
        const spec = await hosts.spec("big", {
          setup_script: await script("big.sh", text),
          start_script: start,
        });
        ended(await hosts.davit(["up", "-f", spec]), 0);
        await hosts.cli("localhost", "kill", "big");
        ended(await hosts.davit(["up", "-f", spec]), 0);
        assert.equal((await inside("big", "cat", "/log")).stdout, "one\ntwo\nstarted\nstarted\n");
        assert.equal((await inside("big", "cat", "/input")).stdout, "");
        // Started behind davit's back: the start script runs when it comes by, the container stays as it is.
        await hosts.cli("localhost", "kill", "big");
        await hosts.cli("localhost", "start", "big");
        const before = await hosts.identities("big");
        ended(await hosts.davit(["up", "-f", spec]), 0);
        assert.deepEqual(await hosts.identities("big"), before);
        assert.equal((await inside("big", "cat", "/log")).stdout, "one\ntwo\nstarted\nstarted\nstarted\n");
      },
    );

    await t.step(
      "14: one that fails in the middle: told with its words, kept, and never attached to",
      async () => {
        const text =
          "#!/bin/sh\nset -e\necho before\nif [ ! -e /mended ]; then echo broken >&2; exit 7; fi\necho after\n";
        const spec = await hosts.spec("half", { setup_script: await script("half.sh", text) });
        const output = hosts.dir.join("kept");
        const { stderr } = ended(await hosts.davit(["up", "-f", spec, "--output-dir", output]), 5);
        assert.match(stderr, /exited 7.*broken/);
        assert.equal(await Deno.readTextFile(`${output}/localhost.setup.log`), "before\nbroken\n");
        ended(await hosts.davit(["attach", "-f", spec]), 3);
        ended(await hosts.davit(["exec", "-f", spec, "--", "true"]), 3);
        ended(await hosts.davit(["exec", "-f", spec, "--unready", "--", "touch", "/mended"]), 0);
        const [before] = await hosts.identities("half");
        const again = await hosts.davit(["up", "-f", spec]);
        assert.ok(again.code === 0 || again.code === 3, again.stderr);
        if (again.code === 3) {
          ended(await hosts.davit(["up", "-f", spec, "--output-dir", output, "--replace"]), 5);
        } else assert.deepEqual(await hosts.identities("half"), [before]);
      },
    );

    await t.step("a run whose setup fails leaves nothing", async () => {
      const spec = await hosts.spec("gone", {
        lifetime: "per_run",
        setup_script: await script("fail.sh", "#!/bin/sh\nexit 9\n"),
      });
      const output = ["--output-dir", hosts.dir.join("gone")];
      ended(await hosts.davit(["run", "-f", spec, ...output, "--", "true"]), 5);
      assert.deepEqual(await hosts.identities("gone"), ["absent"]);
    });

    await t.step("one that does not start: its log is kept before it is removed", async () => {
      const spec = await hosts.spec("dead", { command: ["sh", "-c", "echo last words; exit 3"] });
      const output = hosts.dir.join("dead");
      const { stderr } = await hosts.davit(["up", "-f", spec, "--output-dir", output]);
      assert.match(stderr, /last words/);
      assert.match(await Deno.readTextFile(`${output}/localhost.log`), /last words/);
      assert.deepEqual(await hosts.identities("dead"), ["absent"]);
      await hosts.davit(["up", "-f", spec, "--output-dir", output, "--keep"]);
      assert.notEqual((await hosts.identities("dead"))[0], "absent");
      assert.match(ended(await hosts.davit(["logs", "-f", spec]), 0).stdout, /last words/);
    });

    await t.step("gc finds what never became ready, and removes it when told to", async () => {
      const found = async (...more: string[]) =>
        JSON.parse(ended(await hosts.davit(["gc", "--older-than", "0s", "--json", ...more]), 0).stdout).found
          .map((
            { name, why, isRemoved }: { name: string; why: string; isRemoved: boolean },
          ) => [name, why, isRemoved]);
      const names = (await found()).map(([name]: [string]) => name);
      assert.ok(names.includes("dead"), String(names));
      assert.ok(!names.includes("big"));
      assert.ok((await found("--apply")).some((find: unknown[]) => find[0] === "dead" && find[2] === true));
      assert.deepEqual(await hosts.identities("dead"), ["absent"]);
      assert.notEqual((await hosts.identities("big"))[0], "absent");
    });
  },
});
