import assert from "node:assert/strict";
import { type JobServer, jobServer, type JobServerOptions } from "../testdata/hook_jobs.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../testdata/portable.ts";
import { davitEnv, run } from "../testdata/run.ts";

const CLEARED = "container /tmp was cleared by the job; recreated /tmp/rpc-logs, no output lost";
/** More than one file of output. */
const MUCH = 20_000_000;

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

Deno.test({
  ...needs({ root: true, programs: ["unshare", "mount", "chroot"], kernel: [privateMounts] }),
  name: "hook serve: no step loses a byte or a later one when a job clears its container",
  fn: async (t) => {
    for (const [name, action, notice] of WIPES) {
      await t.step(`${name}: during a step`, async () => {
        await using server = await container();
        const step = await server.sh(
          `printf before; ${action}; printf after; head -c ${MUCH} /dev/zero | tr '\\0' x; echo end >&2; exit 5`,
        );
        assert.equal(step.stdout.length, "beforeafter".length + MUCH);
        assert.match(step.stdout, /^beforeafterx+$/);
        assert.deepEqual([step.stderr, step.result.code, step.result.dropped_bytes], ["end\n", 5, 0]);
        assert.deepEqual(step.notices.filter((text) => notice.test(text)).length, 1, step.notices.join("\n"));
        assert.match(server.process.stderr(), notice);
        const next = await server.sh("echo next; echo error >&2");
        assert.deepEqual([next.stdout, next.stderr, next.result.code], ["next\n", "error\n", 0]);
        assert.deepEqual(next.notices, []);
      });
      await t.step(`${name}: between two steps`, async () => {
        await using server = await container();
        // It waits for the pipe's end, which is the end of the step, and for the server to have looked.
        const first = await server.sh(
          `mkfifo /dev/shm/go; (read line </dev/shm/go; ${action}; echo done >/dev/shm/done) >/dev/null 2>&1 & echo one`,
        );
        assert.equal(first.stdout, "one\n");
        await server.sh("echo >/dev/shm/go; while [ ! -e /dev/shm/done ]; do sleep 0.05; done");
        const next = await server.sh("echo two; exit 3");
        assert.deepEqual([next.stdout, next.result.code], ["two\n", 3]);
        assert.match(server.process.stderr(), notice);
        assert.equal((await server.sh("echo three")).stdout, "three\n");
      });
    }
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare", "mount", "chroot"], kernel: [privateMounts] }),
  name: "hook serve: a step whose output goes nowhere but to memory still runs",
  fn: async () => {
    await using server = await container({ env: { HOME: "/nonexistent" } });
    const lock = "for dir in /tmp /dev/shm /var/tmp /run; do rm -rf $dir/rpc-logs; echo >$dir/rpc-logs; done";
    await server.sh(`${lock}; echo >/nonexistent`);
    const step = await server.sh("echo here; exit 4");
    assert.deepEqual([step.stdout, step.result.code, step.result.rpc_dir], ["here\n", 4, ""]);
    assert.match(server.process.stderr(), /using memory, no output lost/);
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare", "mount", "chroot"], kernel: [privateMounts] }),
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
  ...needs({
    root: true,
    programs: ["unshare", "mount", "chroot", "nsenter", ...BUILD_PROGRAMS],
    kernel: [privateMounts],
  }),
  name: "hook serve: the portable file serves on when the parts that it unpacked in /tmp are gone",
  fn: async () => {
    const portable = await portableFile();
    const env = { PORTABLE: portable, DAVIT_CACHE: "/tmp/cache" };
    const name = `/davit/${portable.slice(portable.lastIndexOf("/") + 1)}`;
    const prepare = 'mkdir /mnt/root/davit; mount --bind "${PORTABLE%/*}" /mnt/root/davit\n' +
      "mount -o remount,size=400m /mnt/root/tmp";
    await using server = await container({ env, program: [name], prepare });
    const [, action] = WIPES[0]!;
    const step = await server.sh(`ls /tmp/cache; printf before; ${action}; printf after; ls -A /tmp`);
    assert.match(step.stdout, /^[0-9a-f]{32}\nbeforeafter/);
    assert.ok(step.notices.includes(CLEARED), step.notices.join("\n"));
    for (const code of [0, 3]) assert.equal((await server.sh(`exit ${code}`)).result.code, code);

    // A client of the same file finds its cache gone as well.
    const inside = ["nsenter", "-t", String(server.process.pid), "-m", "chroot", "/mnt/root"];
    const client =
      `umask 077; echo "$1" >/dev/shm/token; shift; exec "$@" --token-file /dev/shm/token -- sh -c 'rm -rf /tmp/*; echo by the client; exit 7'`;
    const exec = [name, "hook", "exec", "--server", server.address];
    const end = await run([...inside, "sh", "-c", client, "sh", server.token, ...exec], {
      env: davitEnv({ DAVIT_CACHE: "/tmp/cache" }),
    });
    assert.deepEqual([end.code, end.stdout], [7, "by the client\n"], end.stderr);
    assert.match(end.stderr, new RegExp(`^davit: ${CLEARED}$`, "m"));
  },
});
