import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { hasTerminal, whileReleased } from "./held_signals.ts";

const MODULE = new URL("./held_signals.ts", import.meta.url).href;

Deno.test("hasTerminal() reads the terminal's number behind any name", async () => {
  await using dir = await tempDir("tty-stat");
  await Deno.mkdir(dir.join("self"));
  const put = (stat: string) => Deno.writeTextFile(dir.join("self", "stat"), stat);
  assert.equal(hasTerminal({ proc: dir.path }), false, "nothing to read");
  await put("7 (a) S 1 2) R 1 7 7 34816 7 4194304 0");
  assert.equal(hasTerminal({ proc: dir.path }), true);
  await put("7 (deno) S 1 7 7 0 -1 4194304 0");
  assert.equal(hasTerminal({ proc: dir.path }), false);
});

Deno.test({
  name: "hasTerminal() is right about real ones",
  ...needs({ programs: ["script", "setsid"] }),
  async fn() {
    await using dir = await tempDir("tty-real");
    const code =
      `import { hasTerminal } from "${MODULE}"; Deno.writeTextFileSync(Deno.args[0], String(hasTerminal()));`;
    await Deno.writeTextFile(dir.join("show.ts"), code);
    const show = (
      out: string,
    ) => [Deno.execPath(), "run", "-A", "--no-check", dir.join("show.ts"), dir.join(out)];
    await run(["setsid", "--wait", ...show("none")]);
    await run(["script", "--quiet", "--return", "--command", show("pty").join(" "), "/dev/null"]);
    assert.equal(await Deno.readTextFile(dir.join("none")), "false");
    assert.equal(await Deno.readTextFile(dir.join("pty")), "true");
  },
});

Deno.test("whileReleased() only does what it is given where nothing is held", () => {
  assert.equal(whileReleased(() => 5), 5);
});
