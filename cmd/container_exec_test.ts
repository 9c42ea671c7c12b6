/**
 * `container exec` and `container run` on this machine with podman: streams, exit codes, what a timeout and Ctrl-C
 * leave behind.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ended, hostPrograms, startContainerHosts } from "../testdata/container_hosts.ts";
import { needs } from "../testdata/needs.ts";
import { davitArgv, davitEnv, run } from "../testdata/run.ts";

Deno.test({
  ...needs({ root: true, programs: [...hostPrograms("podman", "local"), "script"] }),
  name: "davit container exec and run",
  async fn(t) {
    await using hosts = await startContainerHosts({
      runtime: "podman",
      fanOut: "local",
      names: ["localhost"],
    });
    const spec = await hosts.spec("box");
    ended(await hosts.davit(["up", "-f", spec]), 0);
    const exec = (...args: string[]) => hosts.davit(["exec", "-f", spec, ...args]);
    const processes = async () =>
      (await hosts.cli("localhost", "exec", "box", "ps", "-o", "args")).stdout.split("\n")
        .filter((line) => /sleep \d{4}/.test(line));

    await t.step("stdout, stderr and the exit code are the command's own, byte for byte", async () => {
      const result = await exec("--", "sh", "-c", "printf 'a\\0b'; printf 'no newline' >&2; exit 7");
      assert.deepEqual([result.code, result.stdout, result.stderr], [7, "a\0b", "no newline"]);
    });

    await t.step("an argument is what it is, and so is a variable", async () => {
      const nasty = "a b\n$(touch /tmp/pwned) `id` \"q\" 'q' \\ ;&|<>*?~#!";
      const big = "x".repeat(100_000);
      const { stdout } = ended(
        await exec(
          "-e",
          `NASTY=${nasty}`,
          "-e",
          `BIG=${big}`,
          "--",
          "sh",
          "-c",
          'printf %s "$NASTY$1${#BIG}"',
          "sh",
          nasty,
        ),
        0,
      );
      assert.equal(stdout, `${nasty}${nasty}100000`);
      ended(await exec("--", "test", "-e", "/tmp/pwned"), 1);
    });

    await t.step("standard input with -i, its end without", async () => {
      const args = ["exec", "-f", spec];
      assert.equal((await hosts.davit([...args, "-i", "--", "cat"], { stdin: "said" })).stdout, "said");
      assert.equal((await hosts.davit([...args, "--", "cat"], { stdin: "said" })).stdout, "");
    });

    await t.step("-it: a terminal inside, as large as ours", async () => {
      const words = davitArgv(["container", "exec", "-f", spec, "-it", "--", "sh", "-c", "tty; stty size"]);
      const line = `stty rows 33 columns 77; ${
        words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ")
      }`;
      const shell = ["script", "--quiet", "--return", "--command", line, "/dev/null"];
      const { code, stdout } = await run(shell, {
        env: davitEnv({ ...hosts.env, SHELL: "/bin/sh" }),
        stdin: "",
      });
      assert.equal(code, 0, stdout);
      // Deno's raw mode leaves the terminal's own \n to \r\n on.
      assert.match(stdout, /\/dev\/(pts\/\d+|console)\r*\n33 77/);
    });

    await t.step("cp: into the container, and out of it again", async () => {
      const tree = hosts.dir.join("tree");
      await Deno.mkdir(`${tree}/sub dir`, { recursive: true });
      await Deno.writeTextFile(`${tree}/sub dir/-file`, "text");
      await Deno.symlink("sub dir/-file", `${tree}/link`);
      ended(await hosts.davit(["cp", "-f", spec, tree, ":/tmp"]), 0);
      ended(await hosts.davit(["cp", "-f", spec, ":/tmp/tree", hosts.dir.join("back")]), 0);
      assert.equal(await Deno.readTextFile(`${hosts.dir.join("back")}/tree/sub dir/-file`), "text");
      assert.equal(await Deno.readLink(`${hosts.dir.join("back")}/tree/link`), "sub dir/-file");
      ended(await hosts.davit(["cp", "-f", spec, ":/no/such", hosts.dir.join("back")]), 66);
      ended(await hosts.davit(["cp", "-f", spec, hosts.dir.join("none"), ":/tmp"]), 66);
      ended(await hosts.davit(["cp", "-f", spec, "a", "b"]), 64);
    });

    await t.step("no such command is 127, wherever it is told", async () => {
      ended(await exec("--", "no-such-command"), 127);
    });

    await t.step("--json has it all", async () => {
      const { stdout } = ended(await exec("--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3"), 3);
      const { status, hosts: [host] } = JSON.parse(stdout);
      assert.equal(status, 3);
      assert.deepEqual([host.code, host.stdout, host.stderr, host.cutBytes], [3, "out\n", "err\n", 0]);
    });

    await t.step("--output-dir has a file for each stream", async () => {
      const directory = hosts.dir.join("out");
      ended(await exec("--output-dir", directory, "--", "sh", "-c", "echo out; echo err >&2"), 0);
      assert.equal(await Deno.readTextFile(`${directory}/localhost.stdout`), "out\n");
      assert.equal(await Deno.readTextFile(`${directory}/localhost.stderr`), "err\n");
      assert.equal(JSON.parse(await Deno.readTextFile(`${directory}/localhost.json`)).code, 0);
    });

    await t.step("--timeout ends what runs inside, also what ignores SIGTERM: 124", async () => {
      const script = "trap '' TERM INT; sleep 1001 & sleep 1002";
      ended(await exec("--timeout", "2s", "--grace", "1s", "--", "sh", "-c", script), 124);
      assert.deepEqual(await processes(), []);
    });

    await t.step("Ctrl-C ends what runs inside; a second one what ignores it", async () => {
      for (
        const [script, signals] of [["sleep 1003; true", 1], ["trap '' INT TERM; sleep 1004", 2]] as const
      ) {
        await using davit = hosts.start(["exec", "-f", spec, "--", "sh", "-c", `echo begun; ${script}`]);
        await davit.waitFor(/begun/, 60_000);
        for (let sent = 0; sent < signals; sent++) davit.kill("SIGINT");
        assert.notEqual((await davit.done).code, 0);
        assert.deepEqual(await processes(), [], script);
      }
    });

    await t.step("a davit that is killed leaves nothing inside either", async () => {
      await using davit = hosts.start(["exec", "-f", spec, "--", "sh", "-c", "echo begun; sleep 1005"]);
      await davit.waitFor(/begun/, 60_000);
      davit.kill("SIGTERM");
      await davit.done;
      assert.deepEqual(await processes(), []);
    });

    await t.step("down refuses while a command runs, unless forced", async () => {
      const other = await hosts.spec("busy");
      ended(await hosts.davit(["up", "-f", other]), 0);
      await using davit = hosts.start(["exec", "-f", other, "--", "sh", "-c", "echo begun; sleep 1006"]);
      await davit.waitFor(/begun/, 60_000);
      assert.match(ended(await hosts.davit(["down", "-f", other]), 75).stderr, /1 command/);
      // Joining needs no lock that a command holds.
      ended(await hosts.davit(["up", "-f", other]), 0);
      ended(await hosts.davit(["down", "-f", other, "--force"]), 0);
      assert.notEqual((await davit.done).code, 0);
      assert.equal((await hosts.identities("busy"))[0], "absent");
    });

    await t.step("run: made, used, gone, with the command's exit code", async () => {
      const once = await hosts.spec("once", { lifetime: "per_run" });
      const { stdout } = ended(
        await hosts.davit(["run", "-f", once, "--", "sh", "-c", "hostname; exit 5"]),
        5,
      );
      assert.notEqual(stdout, "");
      assert.equal((await hosts.identities("once"))[0], "absent");
    });

    await t.step("run: gone after Ctrl-C, too", async () => {
      const once = await hosts.spec("once", { lifetime: "per_run" });
      await using davit = hosts.start(["run", "-f", once, "--", "sh", "-c", "echo begun; sleep 1007"]);
      await davit.waitFor(/begun/, 60_000);
      davit.kill("SIGINT");
      await davit.done;
      assert.equal((await hosts.identities("once"))[0], "absent");
    });

    await t.step("usage: -t on many hosts, no command", async () => {
      ended(
        await hosts.davit(["exec", "--name", "box", "--hosts", "a,b", "--fan-out", "ssh", "-t", "--", "sh"]),
        64,
      );
      ended(await hosts.davit(["exec", "-f", spec]), 64);
    });
  },
});
