import assert from "node:assert/strict";
import { type JobServer, jobServer, type JobServerOptions } from "../testdata/hook_jobs.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../testdata/portable.ts";
import { davitEnv, run, type RunOptions, type RunResult } from "../testdata/run.ts";

const CLEARED = "container /tmp was cleared by the job; recreated /tmp/rpc-logs, no output lost";
/** More than one file of output (16 MiB). */
const MUCH = 18_000_000;

const PROGRAMS = ["unshare", "mount", "chroot", "nsenter"];

/** What steps do to a container; each leaves the rest of it as it was. */
const WIPES: readonly [name: string, action: string, notice: RegExp][] = [
  [
    "the command of pytorch/ci-infra#690",
    "rm -rf /var/lib/apt/lists/* /tmp/* /var/tmp/*",
    new RegExp(CLEARED),
  ],
  ["rm -rf /tmp", "umount -l /tmp; rm -rf /tmp", new RegExp(CLEARED)],
  ["chmod 000", "chmod 000 /tmp/rpc-logs", /mode of \/tmp\/rpc-logs was changed by the job; changed back/],
  [
    "a planted link",
    "rm -rf /tmp/rpc-logs; ln -s /etc /tmp/rpc-logs",
    /\/tmp\/rpc-logs: it is a symbolic link; using \/dev\/shm\/rpc-logs, no output lost/,
  ],
  [
    "a full /tmp",
    "dd if=/dev/zero of=/tmp/full bs=64k 2>/dev/null",
    /\/tmp\/rpc-logs: no space is left; using \/dev\/shm\/rpc-logs, no output lost/,
  ],
];

/** Everything that is cleared is a tmpfs of the server's own; below it /tmp is an empty directory of another one. */
const PREPARE = `
mount -t tmpfs -o size=64m,mode=755 tmpfs /mnt
mkdir /mnt/root /mnt/work
for dir in bin sbin lib lib64 usr etc dev proc sys root opt home; do
  [ -e "/$dir" ] || continue
  mkdir "/mnt/root/$dir"
  mount --rbind "/$dir" "/mnt/root/$dir"
done
mkdir -p /mnt/root/var/tmp /mnt/root/var/lib/apt/lists /mnt/root/tmp /mnt/root/work /mnt/root/run
chmod 1777 /mnt/root/tmp /mnt/root/var/tmp
mount --bind "$WORK" /mnt/root/work
mount -t tmpfs -o size=24m,mode=1777 tmpfs /mnt/root/tmp
mount -t tmpfs -o size=64m,mode=1777 tmpfs /mnt/root/dev/shm`;

const REPOSITORY = decodeURIComponent(new URL("../", import.meta.url).pathname);

/** A container whose /tmp may be lost: the server, its jobs and nobody else are in it. */
async function container(options: JobServerOptions = {}): Promise<JobServer> {
  return await jobServer({
    ...options,
    prepare: `${PREPARE}\n${options.prepare ?? ""}`,
    env: { WORK: REPOSITORY, TMPDIR: undefined, ...options.env },
    program: ["chroot", "/mnt/root", ...options.program ?? fromSource()],
  });
}

function fromSource(): string[] {
  const deno = [Deno.execPath(), "run", "-A", "--no-prompt", "--quiet", "--config=/work/deno.json"];
  return [...deno, "/work/main.ts"];
}

/** The portable file in the container, its parts unpacked below /tmp. */
async function portableContainer(): Promise<JobServer> {
  const portable = await portableFile();
  const [directory, name] = [
    portable.slice(0, portable.lastIndexOf("/")),
    portable.slice(portable.lastIndexOf("/")),
  ];
  return await container({
    env: { PORTABLE: directory, DAVIT_CACHE: "/tmp/cache" },
    program: [`/davit${name}`],
    // Its parts take 102 MB.
    prepare: 'mkdir /mnt/root/davit; mount --bind "$PORTABLE" /mnt/root/davit\n' +
      "mount -o remount,size=150m /mnt/root/tmp",
  });
}

/** Runs a command in the server's container, but not as a job. */
async function besides(
  server: JobServer,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const inside = ["nsenter", "-t", String(server.process.pid), "-m", "chroot", "/mnt/root"];
  return await run([...inside, ...argv], { env: davitEnv({ DAVIT_CACHE: "/tmp/cache" }), ...options });
}

async function checkDuring(server: JobServer, action: string, notice: RegExp): Promise<void> {
  const much = `head -c ${MUCH} /dev/zero | tr '\\0' x`;
  const step = await server.sh(`printf before; ${action}; printf after; ${much}; echo end >&2; exit 5`);
  assert.equal(step.stdout.length, "beforeafter".length + MUCH);
  assert.match(step.stdout, /^beforeafterx+$/);
  assert.deepEqual([step.stderr, step.result.code, step.result.dropped_bytes], ["end\n", 5, 0]);
  assert.deepEqual(step.notices.filter((text) => notice.test(text)).length, 1, step.notices.join("\n"));
  await server.process.waitFor(notice, 30_000);
  await checkSteps(server);
}

/** Nothing is left of a wipe: two steps run as if there had been none. */
async function checkSteps(server: JobServer): Promise<void> {
  for (const code of [0, 3]) {
    const step = await server.sh(`echo out; echo err >&2; exit ${code}`);
    assert.deepEqual([step.stdout, step.stderr, step.result.code, step.notices], [
      "out\n",
      "err\n",
      code,
      [],
    ]);
  }
}

async function checkOutside(server: JobServer, action: string, notice: RegExp): Promise<void> {
  const { code } = await besides(server, ["sh", "-c", action]);
  assert.ok(code === 0 || action.startsWith("dd"), `${code}`); // dd says that the disk is full
  const { stdout, result } = await server.sh("echo two; exit 3");
  assert.deepEqual([stdout, result.code, result.dropped_bytes], ["two\n", 3, 0]);
  await server.process.waitFor(notice, 30_000);
  await checkSteps(server);
}

for (
  const [who, open, needed] of [
    ["", container, []],
    ["the portable file: ", portableContainer, BUILD_PROGRAMS],
  ] as const
) {
  Deno.test({
    ...needs({ root: true, programs: [...PROGRAMS, ...needed], kernel: [privateMounts] }),
    name: `hook serve: ${
      who || "from source: "
    }no step loses a byte or a later one when its container is cleared`,
    fn: async (t) => {
      for (const [name, action, notice] of WIPES) {
        await t.step(`${name}: before the first step`, async () => {
          await using server = await open();
          await checkOutside(server, action, notice);
        });
        await t.step(`${name}: during a step`, async () => {
          await using server = await open();
          await checkDuring(server, action, notice);
        });
        await t.step(`${name}: after a step`, async () => {
          await using server = await open();
          assert.equal((await server.sh("echo one")).stdout, "one\n");
          await checkOutside(server, action, notice);
        });
      }
    },
  });
}

Deno.test({
  ...needs({ root: true, programs: PROGRAMS, kernel: [privateMounts] }),
  name: "hook serve: a step whose output goes nowhere but to memory still runs",
  fn: async () => {
    await using server = await container({ env: { HOME: "/nonexistent" } });
    const lock = "for dir in /tmp /dev/shm /var/tmp /run; do rm -rf $dir/rpc-logs; echo >$dir/rpc-logs; done";
    await server.sh(`${lock}; echo >/nonexistent`);
    const step = await server.sh("echo here; exit 4");
    assert.deepEqual([step.stdout, step.result.code, step.result.rpc_dir], ["here\n", 4, ""]);
    await server.process.waitFor(/using memory, no output lost/, 30_000);
  },
});

Deno.test({
  ...needs({ root: true, programs: PROGRAMS, kernel: [privateMounts] }),
  name: "hook serve: socket, directory and log in /tmp are there again after it was cleared",
  fn: async () => {
    const flags = ["--socket=/tmp/davit.sock", "--log-file=/tmp/davit.log", "--rpc-dir=/tmp/rpc-logs"];
    await using server = await container({ flags });
    const cleared = await server.sh(
      "rm -rf /tmp/*; while [ ! -S /tmp/davit.sock ]; do sleep 0.1; done; ls -l /tmp",
    );
    assert.match(cleared.stdout, /^srw------- .* davit\.sock$/m);
    assert.ok(cleared.notices.includes(CLEARED), cleared.notices.join("\n"));
    assert.ok(cleared.notices.includes("socket /tmp/davit.sock was removed by the job; made again"));
    const log = await server.sh("cat /tmp/davit.log");
    assert.match(
      log.stdout,
      /^ts=\S+ level=warn msg="socket \/tmp\/davit\.sock was removed by the job; made again"$/m,
    );
  },
});

Deno.test({
  ...needs({ root: true, programs: [...PROGRAMS, ...BUILD_PROGRAMS], kernel: [privateMounts] }),
  name: "hook exec: the portable file finds its parts in /tmp gone as well, and unpacks them again",
  fn: async () => {
    await using server = await portableContainer();
    const before = await server.sh("ls /tmp/cache");
    assert.match(before.stdout, /^[0-9a-f]{32}\n$/);
    const { stdout: name } = await server.sh("echo /davit/*-portable");
    const exec = [name.trim(), "hook", "exec", "--server", server.address];
    const shell = 'umask 077; echo "$1" >/dev/shm/token; shift; exec "$@" --token-file /dev/shm/token -- ' +
      "sh -c 'rm -rf /tmp/*; echo by the client; exit 7'";
    await besides(server, ["sh", "-c", "rm -rf /tmp/*"]);
    for (const _round of [1, 2]) {
      const end = await besides(server, ["sh", "-c", shell, "sh", server.token, ...exec]);
      assert.deepEqual([end.code, end.stdout], [7, "by the client\n"], end.stderr);
      assert.match(end.stderr, new RegExp(`^davit: ${CLEARED}$`, "m"));
    }
  },
});
