import assert from "node:assert/strict";
import { needs, privateMounts } from "../../../testdata/needs.ts";
import { run } from "../../../testdata/run.ts";
import { type TempDir, tempDir } from "../../../testdata/temp.ts";
import { TEST_AGENT } from "../../../testdata/test_peer.ts";
import type { Log } from "../log.ts";
import { silent } from "../log.ts";
import { connectHost } from "./connect_host.ts";
import { type PortableFile, portableToPush, pushWords } from "./push.ts";
import { quoteWord } from "./ssh.ts";

/** A script in the portable file's place: what matters here is how it comes there and becomes the far end. */
async function makePortable(dir: TempDir): Promise<PortableFile> {
  const path = dir.join("portable");
  const line = `exec ${TEST_AGENT.map(quoteWord).join(" ")} "$@"\n`;
  await Deno.writeTextFile(path, `#!/bin/sh\n${line}# ${"x".repeat(100_000)}\n`);
  return await portableToPush(path);
}

interface Try {
  readonly portable: PortableFile;
  /** Words before the shell, such as env or unshare. */
  readonly before?: readonly string[];
  readonly shell?: readonly string[];
  readonly sent?: string[];
}

/** Connects by the script, run here; says whether the file was sent and from which places on it was tried. */
async function connect({ portable, before = [], shell = ["/bin/sh"], sent = [] }: Try): Promise<string[]> {
  const log: Log = {
    ...silent,
    info: (message) => void sent.push(message),
    warn: (message, fields) => void sent.push(`${message} ${fields?.place}`),
  };
  const peer = await connectHost("far", {
    start: (_host, _program, { skippedPlaces }) => ({
      argv: ["env", ...before, ...shell, ...pushWords(portable, skippedPlaces).slice(1)],
      push: portable,
      classify: ({ end, stderr }) => ({ code: "agent", what: `status ${end.code} ${stderr.trim()}` }),
    }),
    program: { kind: "push", portable },
    log,
    signal: new AbortController().signal,
    timeoutMs: 60_000,
  });
  const { pid } = await peer.call("hello", null) as { pid: number };
  const { DENO_DIR: _, ...environment } = await peer.call("environment", null) as Record<string, string>;
  assert.ok(pid > 0 && environment.HOME !== "");
  await peer.close();
  return sent;
}

const BROUGHT = "bringing davit to the host";
const NEXT = "a host could not store davit, trying the next place there";

Deno.test("the file is brought once, by every shell, and only its owner can read it", async (t) => {
  for (const shell of [["dash"], ["bash", "--posix"], ["/bin/busybox", "sh"]]) {
    await t.step({
      ...needs({ programs: [shell[0]!] }),
      name: shell.join(" "),
      fn: async () => {
        await using dir = await tempDir("push");
        const portable = await makePortable(dir);
        const before = [`HOME=${dir.join("home with space")}`];
        assert.deepEqual(await connect({ portable, shell, before }), [BROUGHT]);
        assert.deepEqual(await connect({ portable, shell, before }), []);
        const place = dir.join("home with space", ".cache/davit/agent");
        assert.deepEqual((await Array.fromAsync(Deno.readDir(place))).map(({ name }) => name), [
          `davit-${portable.contentHash}`,
        ]);
        const [folder, file] = [
          await Deno.stat(place),
          await Deno.stat(`${place}/davit-${portable.contentHash}`),
        ];
        assert.deepEqual([folder.mode! & 0o777, file.mode! & 0o777], [0o700, 0o700]);
      },
    });
  }
});

Deno.test("what is there already is taken only when it is whole and ours", async (t) => {
  await using dir = await tempDir("push");
  const portable = await makePortable(dir);
  const before = [`HOME=${dir.join("home")}`];
  const place = dir.join("home/.cache/davit/agent");
  const file = `${place}/davit-${portable.contentHash}`;
  await connect({ portable, before });
  await t.step("cut short by a crash", async () => {
    await Deno.truncate(file, 1000);
    assert.deepEqual(await connect({ portable, before }), [BROUGHT]);
    assert.equal((await Deno.stat(file)).size, portable.sizeBytes);
  });
  await t.step("a month old and of another version", async () => {
    await Deno.writeTextFile(`${place}/davit-old`, "");
    await Deno.utime(`${place}/davit-old`, 1, 1);
    await Deno.writeTextFile(`${place}/davit-younger`, "");
    await Deno.remove(file);
    assert.deepEqual(await connect({ portable, before }), [BROUGHT]);
    await assert.rejects(Deno.stat(`${place}/davit-old`), Deno.errors.NotFound);
    assert.ok((await Deno.stat(`${place}/davit-younger`)).isFile);
  });
});

/** A mount namespace in which /var/tmp and /tmp are empty and `script` was run; the test's own files stay. */
function inside(dir: TempDir, script: string): string[] {
  const mounts = `mount --bind "$0" /mnt; mount -t tmpfs none /var/tmp; mount -t tmpfs none /tmp
    chmod 1777 /var/tmp /tmp; mkdir -p "$0"; mount --bind /mnt "$0"`;
  return ["unshare", "--mount", "sh", "-ec", `${mounts}; ${script}; exec "$@"`, dir.path];
}

const rooted = needs({ root: true, kernel: [privateMounts] });

Deno.test("a place that will not do is left for the next", async (t) => {
  const cases: [string, string, string[]][] = [
    ["a home mounted noexec", "mkdir -p $HOME && mount -t tmpfs -o noexec none $HOME", [BROUGHT]],
    ["a home that is full", "mkdir -p $HOME && mount -t tmpfs -o size=64k none $HOME", [BROUGHT]],
    ["a read-only home", "mkdir -p $HOME && mount -t tmpfs -o ro none $HOME", [BROUGHT]],
    ["another's directory", "mkdir -p $HOME/.cache/davit/agent; chown 65534 $HOME/.cache/davit/agent", [
      BROUGHT,
    ]],
    ["a symbolic link", "mkdir -p $HOME/.cache/davit $HOME/x; ln -s $HOME/x $HOME/.cache/davit/agent", [
      BROUGHT,
    ]],
    ["no home", "unset HOME", [BROUGHT]],
  ];
  for (const [name, script, expected] of cases) {
    await t.step({
      ...rooted,
      name,
      fn: async () => {
        await using dir = await tempDir("push");
        const portable = await makePortable(dir);
        const check = `; trap 'ls /var/tmp/davit-0 >$0/seen' EXIT`;
        const before = [`HOME=${dir.join("home")}`, ...inside(dir, script + check).slice(0, -1), dir.path];
        // Not exec: the trap tells what is in the namespace when all is over.
        const line = before.findIndex((word) => word.includes('exec "$@"'));
        before[line] = before[line]!.replace('exec "$@"', '"$@"');
        assert.deepEqual(await connect({ portable, before }), expected);
        assert.equal(await Deno.readTextFile(dir.join("seen")), `davit-${portable.contentHash}\n`);
      },
    });
  }

  await t.step({
    ...rooted,
    name: "a limit that shows only while writing, in every place",
    fn: async () => {
      await using dir = await tempDir("push");
      const portable = await makePortable(dir);
      const before = [`HOME=${dir.join("home")}`, ...inside(dir, "trap '' XFSZ; ulimit -f 100")];
      const sent: string[] = [];
      await assert.rejects(connect({ portable, before, sent }), {
        exitStatus: 4,
        code: "agent",
        message: 'Cannot reach "far": it could not store davit anywhere',
      });
      assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.join("home/.cache/davit/agent"))), []);
      assert.deepEqual(sent, [1, 2, 3].flatMap((place) => [BROUGHT, `${NEXT} ${place}`]));
    },
  });
});

Deno.test({
  ...rooted,
  name: "bytes that changed on their way are not kept",
  fn: async () => {
    await using dir = await tempDir("push");
    const portable = await makePortable(dir);
    // Somebody in the middle changes a byte.
    const shell = ["sh", "-c", `sed -u 's/xxx$/xxy/' | exec "$0" "$@"`, "/bin/sh"];
    const before = [`HOME=${dir.join("home")}`, ...inside(dir, ":")];
    await assert.rejects(connect({ portable, before, shell }), { code: "agent" });
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.join("home/.cache/davit/agent"))), []);
  },
});

Deno.test("a file that is cut off on its way leaves nothing", async () => {
  await using dir = await tempDir("push");
  const portable = await makePortable(dir);
  const [, ...words] = pushWords(portable, 0);
  const { code, stdout } = await run(["env", `HOME=${dir.join("home")}`, "/bin/sh", ...words], {
    stdin: `${portable.contentHash}\n${(await Deno.readTextFile(portable.path)).slice(0, 50_000)}`,
  });
  assert.deepEqual([code, stdout], [1, "\ndavit-push absent\n\ndavit-push failed 1\n"]);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.join("home/.cache/davit/agent"))), []);
});

Deno.test("the script has nothing that a login shell of another kind reads otherwise", async () => {
  const script = pushWords({ path: "", sizeBytes: 1, contentHash: "ab" }, 0)[2]!;
  assert.doesNotMatch(script, /['\\!\n]/);
  // SC2093: an exec that fails ends the shell.
  const { code, stdout } = await run(["shellcheck", "--shell=sh", "--exclude=SC2093", "-"], {
    stdin: script,
  });
  assert.equal(code, 0, stdout);
});

Deno.test("a portable file is known by its index, any other by all its bytes", async () => {
  await using dir = await tempDir("push");
  const index = "0123456789abcdef".repeat(4);
  const trailer = `${`davit-index 12345 678 ${index}`.padEnd(111)}\n`;
  await Deno.writeTextFile(dir.join("portable"), `${"x".repeat(1000)}${trailer}`);
  await Deno.writeTextFile(dir.join("other"), `${"x".repeat(1000)}${trailer}y`);
  assert.equal((await portableToPush(dir.join("portable"))).contentHash, index);
  const other = await run(["sha256sum", dir.join("other")]);
  assert.equal((await portableToPush(dir.join("other"))).contentHash, other.stdout.split(" ")[0]);
});

Deno.test("from source there is nothing to push, and what cannot be read is named", async () => {
  await assert.rejects(portableToPush(undefined), {
    exitStatus: 78,
    code: "no_agent_file",
    hint: /--agent-file/,
  });
  await assert.rejects(portableToPush("/nope/davit"), {
    exitStatus: 66,
    message: /^Cannot read "\/nope\/davit"/,
  });
});
