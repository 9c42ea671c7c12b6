import assert from "node:assert/strict";
import { assertFinding, binDir, look } from "../../../testdata/doctor.ts";
import { findProgram, needs } from "../../../testdata/needs.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { enrootCheck, squashfsCheck } from "./tools.ts";

const none = () => undefined;
const path = Deno.env.get("PATH")!;

Deno.test({
  name: "doctor: squashfs-tools on PATH, too old, absent, silent, broken",
  ...needs({ programs: ["sqfstar", "unsquashfs"] }),
  async fn(t) {
    await using dir = await tempDir("doctor");
    await Deno.writeTextFile(dir.join("sqfstar"), "#!/nonexistent/interpreter\n", { mode: 0o755 });
    await Deno.mkdir(dir.join("odd"));
    await Deno.writeTextFile(dir.join("odd", "sqfstar"), "#!/bin/sh\nprintf 'a\\033[31m\\n'\n", {
      mode: 0o755,
    });
    const rows = [
      [path, "ok", /^sqfstar \d\.\d.* \(\/.*\/sqfstar\); unsquashfs \d/],
      [
        `${binDir("old_squashfs_tools")}:${path}`,
        "missing",
        /sqfstar 4\.4-git\.1 .* too old, 4\.5 was wanted/,
      ],
      ["/nonexistent", "missing", /sqfstar is not on PATH; unsquashfs is not on PATH/],
      ["", "missing", /sqfstar is not on PATH/],
      [`${dir.path}:${path}`, "missing", /cannot be started: ENOENT/],
      [`${dir.join("odd")}:${path}`, "missing", /does not tell its version: "a\\u001b\[31m"/],
    ] as const;
    for (const [search, state, detail] of rows) {
      await t.step(search.split(":")[0] || "empty", async () => {
        const finding = await look(squashfsCheck({ env: { PATH: search }, bundledTool: none }));
        assertFinding(finding, state, detail);
        if (state !== "ok") assert.match(finding.mend!, /install squashfs-tools/);
      });
    }
    await t.step("silent", async () => {
      const env = { PATH: `${binDir("squashfs_hung")}:${path}` };
      const finding = await look(squashfsCheck({ env, bundledTool: none }), 500);
      assertFinding(finding, "degraded", /sqfstar \(.*\) does not answer/);
    });
    await t.step("only unsquashfs is missing", async () => {
      const only = dir.join("only");
      await Deno.mkdir(only);
      await Deno.symlink(findProgram("sqfstar")!, `${only}/sqfstar`);
      const finding = await look(squashfsCheck({ env: { PATH: only }, bundledTool: none }));
      assertFinding(finding, "degraded", /unsquashfs is not on PATH/);
      assert.match(finding.cost!, /--deep/);
    });
    await t.step("those that davit carries stand in", async () => {
      const bundledTool = (name: string) => ({ argv: [findProgram(name)!] as [string], env: {} });
      for (const search of ["", binDir("old_squashfs_tools")]) {
        const finding = await look(squashfsCheck({ env: { PATH: search }, bundledTool }));
        assertFinding(finding, "ok", /sqfstar .*\(carried by davit\); unsquashfs .*\(carried by davit\)/);
      }
    });
  },
});

Deno.test("doctor: enroot there, absent, failing", async (t) => {
  await using dir = await tempDir("doctor");
  await Deno.writeTextFile(dir.join("enroot"), "#!/bin/sh\necho no config >&2; exit 3\n", { mode: 0o755 });
  const rows = [
    [binDir("enroot_ok"), "ok", /"4\.1\.2"/],
    ["/nonexistent", "missing", /not on PATH/],
    [dir.path, "degraded", /fails: "no config"/],
  ] as const;
  for (const [search, state, detail] of rows) {
    await t.step(search, async () => {
      assertFinding(await look(enrootCheck({ env: { PATH: search } })), state, detail);
    });
  }
});
