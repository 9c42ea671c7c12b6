/**
 * Debian's docker-registry on a free loopback port, and real images pushed to it with skopeo and umoci.
 *
 * @module
 */
import { run, start } from "./run.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** A registry that `await using` ends. */
export interface RealRegistry extends AsyncDisposable {
  /** "127.0.0.1:PORT". */
  readonly host: string;
  /** Requests so far, as "GET /v2/…", from the registry's own log. */
  requests(): string[];
  /** Pushes a tag of an OCI layout directory. */
  push(layout: string, tag: string, repository: string): Promise<void>;
}

/** Starts one; what it stores goes with it. `extra` is more YAML of its configuration. */
export async function startRegistry(extra = ""): Promise<RealRegistry> {
  const dir = await tempDir("registry");
  for (let attempt = 0;; attempt++) {
    // The port may be taken between looking and listening: try another one.
    const host = `127.0.0.1:${freePort()}`;
    await Deno.writeTextFile(dir.join("config.yml"), configuration(dir.path, host) + extra);
    const server = start(["docker-registry", "serve", dir.join("config.yml")], { timeoutMs: 3_600_000 });
    try {
      await server.waitFor(/listening on/, 20_000);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      if (attempt === 4) throw error;
      continue;
    }
    return {
      host,
      requests: () =>
        [...server.stdout().matchAll(/"((?:GET|HEAD|PUT|POST|PATCH) \S+) HTTP/g)].map(([, line]) => line!),
      push: (layout, tag, repository) => push(layout, tag, `${host}/${repository}`),
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]();
        await dir[Symbol.asyncDispose]();
      },
    };
  }
}

function configuration(path: string, host: string): string {
  return `version: 0.1
storage: {filesystem: {rootdirectory: ${path}/store}}
http: {addr: "${host}"}
log: {level: info, accesslog: {disabled: false}}
`;
}

/** A port that was free a moment ago. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function push(layout: string, tag: string, goal: string): Promise<void> {
  await must(["skopeo", "copy", "-q", "--dest-tls-verify=false", `oci:${layout}:${tag}`, `docker://${goal}`]);
}

/** Runs a program that has to succeed. */
export async function must(argv: readonly string[], cwd?: string): Promise<string> {
  const { code, stdout, stderr } = await run(argv, { cwd, timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`${argv.join(" ")} exited ${code}: ${stderr}`);
  return stdout;
}

/**
 * Makes an OCI layout with a three-layer image `:1`: a busybox, files of known content with hard links and odd
 * names, and a layer that deletes and replaces some of them. `randomBytes` is the size of its largest file.
 */
export async function makeSampleImage(dir: TempDir, randomBytes = 4 << 20): Promise<string> {
  const layout = dir.join("layout");
  await must(["sh", "-eu", "-c", SAMPLE_SCRIPT, "sample", dir.path, layout, String(randomBytes)]);
  return layout;
}

const SAMPLE_SCRIPT = String.raw`
cd "$1"; layout=$2
mkdir -p base/bin base/etc base/dev base/tmp
cp /bin/busybox base/bin/busybox
for applet in sh cat ls echo env sleep; do ln -s busybox base/bin/$applet; done
echo 'root:x:0:0::/root:/bin/sh' > base/etc/passwd
tar -C base --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner -cf base.tar .
mkdir -p two/data two/data/deep/er
head -c "$3" /dev/urandom > two/data/random
seq 1 200000 > two/data/numbers
ln two/data/numbers two/data/numbers-again
echo 'to be deleted' > two/data/doomed
echo 'a b' > 'two/data/with space'; echo umlaut > "two/data/$(printf 'caf\303\251')"
ln -s ../numbers two/data/deep/link; chmod 4750 two/data/deep
if [ "$(id -u)" = 0 ]; then chown 12:34 two/data/deep; fi
tar -C two --sort=name --mtime=@1700000100 --numeric-owner -cf two.tar .
mkdir -p three/data
: > three/data/.wh.doomed; echo 'replaced' > three/data/random-note; echo 'now a file' > three/data/numbers
tar -C three --sort=name --mtime=@1700000200 --numeric-owner -cf three.tar data
umoci init --layout "$layout"; umoci new --image "$layout:1"
for layer in base two three; do umoci raw add-layer --image "$layout:1" $layer.tar; done
umoci config --image "$layout:1" --architecture "$(dpkg --print-architecture)" --os linux \
  --config.env GREETING=hello --config.workingdir /work/dir --config.entrypoint /bin/echo --config.cmd hi
rm -rf base two three *.tar
`;
