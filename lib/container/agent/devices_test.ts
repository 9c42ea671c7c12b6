import assert from "node:assert/strict";
import { tempDir } from "../../../testdata/temp.ts";
import { Failure } from "../../failure.ts";
import type { ContainerSpec } from "../spec.ts";
import { deviceFlags } from "./devices.ts";
import { docker } from "./runtime_docker.ts";
import { podman } from "./runtime_podman.ts";

type Wish = Partial<Pick<ContainerSpec, "devices" | "gpus" | "groupAdd">>;

async function hostWith(...names: string[]) {
  const dir = await tempDir("dev");
  for (const name of names) {
    await Deno.mkdir(dir.join("dev", name).replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(dir.join("dev", name), "");
  }
  await Deno.mkdir(dir.join("dev"), { recursive: true });
  await Deno.writeTextFile(dir.join("group"), "video:x:44:alice\nrender:x:109:\nother:x:7:\n");
  const places = { root: dir.join("dev"), groups: dir.join("group") };
  return {
    flags: (wish: Wish, runtime = docker, isRootless = false) =>
      deviceFlags({ name: "n", devices: [], gpus: "none", groupAdd: [], ...wish }, runtime, {
        isRootless,
        places,
      }),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

Deno.test("deviceFlags() resolves globs, leaves optional devices out and says so, refuses missing ones", async () => {
  await using host = await hostWith("infiniband/uverbs1", "infiniband/uverbs0", "infiniband/rdma_cm", "fuse");
  assert.deepEqual(
    host.flags({ devices: ["/dev/infiniband/uverbs*", "/dev/fuse:/dev/x:rw", "/dev/fuse:/dev/x:rw"] }),
    {
      flags: [
        "--device=/dev/infiniband/uverbs0",
        "--device=/dev/infiniband/uverbs1",
        "--device=/dev/fuse:/dev/x:rw",
      ],
      notes: [],
    },
  );
  assert.deepEqual(host.flags({ devices: ["-/dev/kfd", "-/dev/nvidia*", "/dev/fuse"] }), {
    flags: ["--device=/dev/fuse"],
    notes: [
      `device "/dev/kfd" is not on this host, going on without it`,
      `device "/dev/nvidia*" is not on this host, going on without it`,
    ],
  });
  for (const device of ["/dev/kfd", "/dev/nvidia*", "/dev/none/x*", "/dev/infiniband/uverbs*:/dev/x"]) {
    assert.throws(() => host.flags({ devices: [device] }), (error) => {
      assert.ok(error instanceof Failure && error.code === "missing_device", String(error));
      assert.ok(error.message.includes(JSON.stringify(device)));
      return true;
    });
  }
  // A name of the Container Device Interface is no path.
  assert.deepEqual(host.flags({ devices: ["vendor.com/gpu=0"] }).flags, ["--device=vendor.com/gpu=0"]);
});

Deno.test("deviceFlags() knows the GPU makers' presets", async () => {
  await using amd = await hostWith("kfd", "dri/card0", "dri/renderD128");
  const amdFlags = ["--device=/dev/kfd", "--device=/dev/dri", "--group-add=44", "--group-add=109"];
  assert.deepEqual(amd.flags({ gpus: "amd" }).flags, amdFlags);
  assert.deepEqual(amd.flags({ gpus: "auto", devices: ["/dev/kfd"] }).flags, amdFlags, "each device once");
  assert.deepEqual(amd.flags({ gpus: "none" }).flags, []);
  const rootless = amd.flags({ gpus: "amd" }, podman, true).flags;
  assert.deepEqual(rootless, ["--device=/dev/kfd", "--device=/dev/dri", "--group-add=keep-groups"]);

  await using nvidia = await hostWith("nvidiactl", "nvidia0");
  assert.deepEqual(nvidia.flags({ gpus: "auto" }).flags, ["--gpus=all"]);
  assert.deepEqual(nvidia.flags({ gpus: "auto" }, podman).flags, ["--device=nvidia.com/gpu=all"]);
  assert.throws(() => nvidia.flags({ gpus: "amd" }), /"\/dev\/kfd": it is not on this host/);

  await using none = await hostWith();
  assert.deepEqual(none.flags({ gpus: "auto" }), { flags: [], notes: [] });
});
