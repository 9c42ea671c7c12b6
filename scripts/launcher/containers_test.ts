import assert from "node:assert/strict";
import { type Engine, ENGINE_PROGRAMS, startDocker, startPodman } from "../../testdata/engines.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { must } from "../../testdata/real_registry.ts";
import { makeRoot, ROOT_PROGRAMS } from "../../testdata/roots.ts";
import { tempDir } from "../../testdata/temp.ts";
import { startTourRegistry, takeTour } from "../../testdata/tour.ts";

const FROM_MEMORY =
  /^davit: no directory to unpack to \(.+\): running from memory, which costs \d+ MB; .*\n$/;

/** How a container is run, and where davit unpacks itself there. */
const WAYS = [
  { name: "as it is", flags: [], unpacked: /^\/root\/\.cache\/davit\// },
  {
    name: "as a user without a home, no capabilities",
    flags: ["--user=8001:8001", "--cap-drop=ALL", "--security-opt=no-new-privileges"],
    unpacked: /^\/var\/tmp\/davit-8001\//,
  },
  {
    name: "read-only with a tmpfs that may execute",
    flags: ["--read-only", "--tmpfs=/var/tmp:rw,noexec", "--tmpfs=/tmp:rw,exec,size=300m"],
    unpacked: /^\/tmp\/davit-0\/|^\/dev\/shm\/davit-0\//,
  },
  {
    name: "read-only, where nothing may be executed",
    flags: ["--read-only", "--tmpfs=/var/tmp:rw,noexec", "--tmpfs=/tmp:rw,noexec"],
    unpacked: undefined,
  },
] as const;

for (const [name, startEngine] of [["podman", startPodman], ["docker", startDocker]] as const) {
  Deno.test({
    ...needs({
      root: true,
      programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS, ...ENGINE_PROGRAMS[name]],
      kernel: [privateMounts],
    }),
    name: `the portable file runs in containers of ${name}`,
    async fn(t) {
      await using dir = await tempDir("containers");
      await using registry = await startTourRegistry();
      await makeRoot("busybox", dir.join("root"), await portableFile());
      await must(["tar", "-C", dir.join("root"), "--exclude=./davit", "-cf", dir.join("root.tar"), "."]);
      await using engine: Engine = await startEngine();
      await engine.importRoot(dir.join("root.tar"));

      for (const { name, flags, unpacked } of WAYS) {
        await t.step(name, async () => {
          await Deno.mkdir(dir.join("work"), { mode: 0o777 });
          await Deno.chmod(dir.join("work"), 0o777);
          const volumes = [`${dir.join("work")}:/work`, `${dir.join("root", "davit")}:/davit:ro`];
          const all = [...flags, ...volumes.map((volume) => `--volume=${volume}`)];
          const davit = (args: readonly string[]) => engine.run(["/davit", ...args], { flags: all });
          await takeTour(davit, {
            registry,
            dir: "/work",
            ...unpacked === undefined && { says: FROM_MEMORY },
          });
          const facts = JSON.parse((await davit(["self", "--json"])).stdout);
          if (unpacked === undefined) assert.equal(facts.unpacked, null);
          else assert.match(facts.unpacked, unpacked);
          await Deno.remove(dir.join("work"), { recursive: true });
        });
      }
    },
  });
}
