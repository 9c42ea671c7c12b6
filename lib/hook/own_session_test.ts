import assert from "node:assert/strict";
import { tempDir } from "../../testdata/temp.ts";
import { findProgram, needs } from "../../testdata/needs.ts";
import { sessionStart } from "./own_session.ts";

Deno.test({
  ...needs({ programs: ["setsid"] }),
  name: "sessionStart() lets setsid(1) become what it certainly can become, and nothing else",
  fn: async (t) => {
    await using dir = await tempDir("session");
    const shell = await Deno.readFile("/bin/sh");
    await Deno.writeTextFile(dir.join("script"), "#!/bin/sh\n", { mode: 0o755 });
    await Deno.writeFile(dir.join("ours alone"), shell, { mode: 0o700 });
    await Deno.writeFile(dir.join("data"), shell, { mode: 0o644 });
    await Deno.mkdir(dir.join("directory"));
    const setsid = findProgram("setsid")!;
    const base = `/nonexistent:${setsid.replace(/\/setsid$/, "")}`;
    const path = `${dir.path}:/usr/bin:/bin`;
    for (
      const [name, argv, options, isQuick] of [
        ["a name", ["sh", "-c", "-x"], {}, true],
        ["a path", ["/bin/sh"], {}, true],
        ["a path below the directory", ["bin/sh"], { cwd: "/" }, true],
        ["a path below a directory that is not known", ["bin/sh"], {}, false],
        ["no such name", ["no-such-program"], {}, false],
        ["a script", ["script"], {}, false],
        ["not everybody's", ["ours alone"], {}, false],
        ["not executable", ["data"], {}, false],
        ["a directory", ["directory"], {}, false],
        ["a relative PATH", ["sh"], { path: "bin:/bin" }, false],
        ["the usual PATH", ["sh"], { path: undefined }, true],
      ] as [string, string[], { path?: string | undefined; cwd?: string }, boolean][]
    ) {
      await t.step(name, () => {
        assert.deepEqual(
          sessionStart(argv, { path, cwd: undefined, base, ...options }),
          isQuick ? { argv: [setsid, "--", ...argv], detached: false } : { argv, detached: true },
        );
      });
    }
  },
});

Deno.test("sessionStart() does without setsid(1)", () => {
  // Another instance of the module: one that has not found it before.
  return import("./own_session.ts?alone").then((module: { sessionStart: typeof sessionStart }) => {
    const options = { path: "/bin", cwd: undefined, base: "/nonexistent" };
    assert.deepEqual(module.sessionStart(["/bin/sh"], options), { argv: ["/bin/sh"], detached: true });
  });
});
