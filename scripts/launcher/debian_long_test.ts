import assert from "node:assert/strict";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { inRoot, makeRoot, ROOT_PROGRAMS } from "../../testdata/roots.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { startTourRegistry, takeTour } from "../../testdata/tour.ts";

Deno.test({
  ...needs({
    root: true,
    programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS, "debootstrap"],
    kernel: [privateMounts],
  }),
  name: "the portable file runs in a Debian that debootstrap made, as root and as another user",
  async fn(t) {
    await using dir = await tempDir("roots");
    await using registry = await startTourRegistry();
    const root = await makeRoot("debian", dir.join("debian"), await portableFile());
    // glibc is there, of which nothing is to be taken; squashfs-tools are not.
    assert.equal((await run(inRoot(root, ["/bin/bash", "-c", "ls /lib*/*/libc.so.6"]))).code, 0);
    for (const [uid, home] of [[0, "/root"], [8001, "/home/nobody-made-it"]] as const) {
      await t.step(`uid ${uid}`, async () => {
        const work = `/srv/${uid}`;
        await Deno.mkdir(root + work);
        await Deno.chown(root + work, uid, uid);
        const options = { uid, env: { HOME: home, PATH: "/usr/bin:/bin", LANG: "C.UTF-8" } };
        await takeTour((args) => run(inRoot(root, ["/davit", ...args], options)), { registry, dir: work });
      });
    }
  },
});
