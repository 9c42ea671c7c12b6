import assert from "node:assert/strict";
import { classifyKernelLine } from "./kernel_lines.ts";

Deno.test("classifyKernelLine() tags what ends jobs", async (t) => {
  const rows: [tag: string, kind: string | undefined, facts: Record<string, string>, text: string][] = [
    [
      "hung_task",
      "blocked",
      { comm: "a b:1", pid: "9", seconds: "120" },
      "INFO: task a b:1:9 blocked for more than 120 seconds.",
    ],
    [
      "hung_task",
      "io_wait",
      { comm: "init", pid: "1", seconds: "122" },
      "INFO: task init:1 blocked in I/O wait for more than 122 seconds.",
    ],
    [
      "hung_task",
      "owner",
      { comm: "(udev-worker)", pid: "374" },
      "INFO: task (udev-worker):374 is blocked on a mutex likely owned by task virtme-ng-init:1.",
    ],
    [
      "hung_task",
      "suppressed",
      {},
      "Future hung task reports are suppressed, see sysctl kernel.hung_task_warnings",
    ],
    [
      "soft_lockup",
      "soft",
      { cpu: "18", seconds: "27", comm: "python3", pid: "2254956" },
      "watchdog: BUG: soft lockup - CPU#18 stuck for 27s! [python3:2254956]",
    ],
    [
      "soft_lockup",
      "soft",
      { cpu: "1", seconds: "22", comm: "x", pid: "2" },
      "NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:2]",
    ],
    ["soft_lockup", "hard", { cpu: "3" }, "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"],
    ["soft_lockup", "hard", {}, "NMI watchdog: Watchdog detected hard LOCKUP on cpu 5"],
    ["rcu_stall", undefined, { flavor: "rcu_sched" }, "rcu: INFO: rcu_sched self-detected stall on CPU"],
    [
      "rcu_stall",
      undefined,
      { flavor: "rcu_preempt" },
      "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    ],
    [
      "rcu_stall",
      undefined,
      { flavor: "rcu_preempt" },
      "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... } 21 jiffies",
    ],
    [
      "panic",
      undefined,
      {},
      "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled",
    ],
    [
      "oom_group",
      undefined,
      { cgroup: "/a b" },
      "Tasks in /a b are going to be killed due to memory.oom.group set",
    ],
    ["oom_reaper", "unable", { pid: "7" }, "oom_reaper: unable to reap pid:7 (java)"],
    [
      "xid",
      "fatal",
      { bus: "0000:05:00", xid: "79" },
      "NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    ],
    [
      "xid",
      "fatal",
      { bus: "0000:9b:00", xid: "119", pid: "2024380" },
      "NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=nvidia-smi, Timeout after 6s of waiting for RPC response from GPU4 GSP! Expected function 103 (GSP_RM_ALLOC) (0x2081 0x4).",
    ],
    ["xid", "other", { bus: "0000:03:00", xid: "14" }, "NVRM: Xid (0000:03:00): 14, Channel 00000001"],
    [
      "xid",
      "application",
      { bus: "0000:00:06", xid: "31", pid: "79749" },
      "NVRM: Xid (PCI:0000:00:06): 31, pid=79749, name=exe, Ch 0000000a, intr 00000000. MMU Fault: ...",
    ],
    [
      "xid",
      "degraded",
      { bus: "0000:10:1c", xid: "63", pid: "1896" },
      "NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.",
    ],
    [
      "xid",
      "advice",
      { bus: "0009:01:00", xid: "154" },
      "NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)",
    ],
    [
      "xid",
      "other",
      { bus: "0009:01:00", xid: "149" },
      "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 ...)",
    ],
    [
      "xid",
      "application",
      { bus: "0000:51:00", xid: "43", pid: "12" },
      "NVRM: Xid (PCI:0000:51:00 GPU-I:08): 43, pid=12, name=python3, Ch 00000008",
    ],
    ["xid", "fatal", { bus: "0000:05:00", xid: "62" }, "NVRM: Xid (PCI:0000:05:00): 62"],
    ["gpu_off_bus", "fatal", { bus: "0000:29:00.0" }, "NVRM: GPU 0000:29:00.0: GPU has fallen off the bus."],
    ["gpu_off_bus", "fatal", { bus: "0000:01:00.0" }, "NVRM: GPU at 0000:01:00.0 has fallen off the bus."],
    [
      "sxid",
      "nonfatal",
      { switch: "3", bus: "0000:05:00.0", sxid: "12028" },
      "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)",
    ],
    [
      "sxid",
      "fatal",
      { switch: "0", bus: "0000:c1:00.0", sxid: "20034" },
      "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 28 LTSSM Fault Up",
    ],
    [
      "amdgpu",
      "timeout",
      { ring: "gfx_0.0.0" },
      "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx_0.0.0 timeout, signaled seq=516877, emitted seq=516879",
    ],
    [
      "amdgpu",
      "timeout",
      { bus: "0000:0b:00.0", ring: "sdma0" },
      "amdgpu 0000:0b:00.0: amdgpu: ring sdma0 timeout, signaled seq=5, emitted seq=7",
    ],
    ["amdgpu", "reset", { bus: "0000:0b:00.0" }, "amdgpu 0000:0b:00.0: amdgpu: GPU reset begin!"],
    ["amdgpu", "reset_ok", { bus: "0000:0b:00.0" }, "amdgpu 0000:0b:00.0: amdgpu: GPU reset(1) succeeded!"],
    [
      "amdgpu",
      "reset_ok",
      { bus: "0000:0b:00.0" },
      "amdgpu 0000:0b:00.0: amdgpu: GPU reset succeeded, trying to resume",
    ],
    ["amdgpu", "reset_failed", { bus: "0000:0b:00.0" }, "amdgpu 0000:0b:00.0: amdgpu: GPU reset(4) failed"],
    [
      "amdgpu",
      "reset_failed",
      { bus: "0000:0b:00.0" },
      "amdgpu 0000:0b:00.0: amdgpu: GPU reset end with ret = -62",
    ],
    ["amdgpu", "vram_lost", {}, "[drm] VRAM is lost due to GPU reset!"],
    [
      "amdgpu",
      "page_fault",
      { bus: "0000:0b:00.0" },
      "amdgpu 0000:0b:00.0: amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:88 vmid:4 pasid:32772)",
    ],
    [
      "amdgpu",
      "firmware",
      { bus: "0000:0b:00.0" },
      "amdgpu 0000:0b:00.0: amdgpu: MES failed to respond to msg=REMOVE_QUEUE",
    ],
    ["amdgpu", "firmware", {}, "[drm:mes_v11_0_submit_pkt [amdgpu]] *ERROR* MES failed to response msg=3"],
    [
      "nvme",
      "controller_down",
      { dev: "nvme0" },
      "nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
    ],
    ["nvme", "timeout", { dev: "nvme0" }, "nvme nvme0: I/O 528 QID 10 timeout, reset controller"],
    [
      "nvme",
      "timeout",
      { dev: "nvme0" },
      "nvme nvme0: I/O tag 5 (1005) opcode 0x2 (I/O Cmd) QID 3 timeout, aborting req_op:READ(0) size:4096",
    ],
    ["nvme", "removed", { dev: "nvme0" }, "nvme nvme0: Removing after probe failure status: -19"],
    ["nvme", "removed", { dev: "nvme4" }, "nvme nvme4: Disabling device after reset failure: -19"],
    ["fs", "readonly", { dev: "sda1" }, "EXT4-fs (sda1): Remounting filesystem read-only"],
    [
      "fs",
      "error",
      { dev: "sda1" },
      "EXT4-fs error (device sda1): ext4_lookup:1855: inode #2: comm ls: deleted inode referenced: 12",
    ],
    ["fs", "shutdown", { dev: "dm-0" }, "XFS (dm-0): log I/O error -5, Shutting down filesystem"],
    ["fs", "readonly", { dev: "sdb1" }, "BTRFS info (device sdb1: state E): forced readonly"],
    [
      "fs",
      "error",
      { dev: "sdb1" },
      "BTRFS: error (device sdb1) in btrfs_commit_transaction:2460: errno=-5 IO failure",
    ],
    [
      "io_error",
      "buffer",
      { dev: "dm-0" },
      "Buffer I/O error on dev dm-0, logical block 1308098575, lost async page write",
    ],
    ["io_error", "block", { dev: "nvme0n1" }, "blk_update_request: I/O error, dev nvme0n1, sector 2048"],
    [
      "io_error",
      "block",
      { dev: "sda" },
      "I/O error, dev sda, sector 123 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
    ],
    ["io_error", "block", { dev: "sda" }, "critical medium error, dev sda, sector 123 op 0x0:(READ)"],
    ["nfs", "not_responding", { server: "filer-1" }, "nfs: server filer-1 not responding, timed out"],
    ["nfs", "ok", { server: "filer-1" }, "nfs: server filer-1 OK"],
    [
      "segfault",
      "segfault",
      { comm: "pt_main_thread", pid: "2536443", library: "libnccl.so.2" },
      "pt_main_thread[2536443]: segfault at 7f797fe00000 ip 00007f7c7ac69996 sp 00007f7c12fd7c30 error 4 in libnccl.so.2[7f7c7ac00000+d3d3000]",
    ],
    [
      "segfault",
      "segfault",
      { comm: "maliit-keyboard", pid: "7678", library: "libQt5Core.so.5.15.18" },
      "maliit-keyboard[7678]: segfault at 560e94cfe000 ip 00007f995a078670 sp 00007ffcabdea570 error 4 in libQt5Core.so.5.15.18[278670,7f9959e00000+2f2000] likely on CPU 3 (core 1, socket 0)",
    ],
    [
      "segfault",
      "segfault",
      { comm: "x", pid: "1" },
      "x[1]: segfault at 0 ip 0000000000000000 sp 00007ffc error 14",
    ],
    [
      "segfault",
      "trap",
      { comm: "python3", pid: "12", library: "libtorch_cpu.so" },
      "traps: python3[12] general protection fault ip:7f1 sp:7f2 error:0 in libtorch_cpu.so[7f0+1]",
    ],
    [
      "segfault",
      "trap",
      { comm: "a.out", pid: "3", library: "a.out" },
      "traps: a.out[3] trap invalid opcode ip:401136 sp:7ffd error:0 in a.out[401000+1000]",
    ],
    ["mce", "fatal", {}, "{1}[Hardware Error]: event severity: fatal"],
    ["mce", "corrected", {}, "{1}[Hardware Error]: event severity: corrected"],
    ["mce", "logged", {}, "mce: [Hardware Error]: Machine check events logged"],
    ["mce", "error", {}, "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 4: b200000000070f0f"],
    ["filemax", undefined, { limit: "1000000" }, "VFS: file-max limit 1000000 reached"],
    [
      "pids",
      undefined,
      { cgroup: "/user.slice/session-7.scope" },
      "cgroup: fork rejected by pids controller in /user.slice/session-7.scope",
    ],
    [
      "netdev",
      undefined,
      { dev: "lo" },
      "unregister_netdevice: waiting for lo to become free. Usage count = 1",
    ],
  ];
  for (const [tag, kind, facts, text] of rows) {
    await t.step(text.slice(0, 100), () => {
      assert.deepEqual(classifyKernelLine(text), { tag, class: kind, facts });
    });
  }
});

Deno.test("classifyKernelLine() passes by what only sounds like it", async (t) => {
  for (
    const text of [
      "",
      "systemd[1]: my-app printed: everything is fine",
      "myapp: NVRM: Xid (PCI:0000:05:00): 79",
      "mlx5_core 0000:01:00.0: mlx5_cmd_out_err:808:(pid 1): ACCESS_REG(0x805) op_mod(0x1) failed",
      "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15",
      "NVRM: GPU at PCI:0000:29:00: GPU-8fe3a97d-51f6-a669-0d80-b4530b81b816",
      "nvme nvme0: 16/0/0 default/read/poll queues",
      "EXT4-fs (sda1): mounted filesystem with ordered data mode",
      "XFS (dm-0): Mounting V5 Filesystem",
      "[Hardware Error]:  section type: general processor error",
      "EDAC MC0: 1 CE memory read error",
      "amdgpu 0000:0b:00.0: amdgpu: SMU is initialized successfully!",
      "cgroup: fork rejected by something else",
    ]
  ) await t.step(text, () => assert.equal(classifyKernelLine(text), undefined));
});
