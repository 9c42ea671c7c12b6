import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";

const MODULE = new URL("./orphans.ts", import.meta.url).href;

/** As PID 1: children of its own with codes of their own, orphans beside them, and a reaper that is called often. */
const PROGRAM = `
import { OrphanReaper } from "${MODULE}";
const known = new Set();
const reaper = new OrphanReaper(known, { proc: Deno.args[0] });
let reaped = 0;
const timer = setInterval(() => reaped += reaper.reap(), 1);
let wrong = 0;
await Promise.all(Array.from({ length: 60 }, async (_, code) => {
  // Each leaves an orphan that ends a little later.
  const child = new Deno.Command("sh", { args: ["-c", "(sleep 0.2; exit 9) & exit " + code] }).spawn();
  known.add(child.pid);
  const status = await child.status;
  known.delete(child.pid);
  if (status.code !== code) wrong++;
}));
for (let tries = 0; reaped < 60 && tries < 500; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
clearInterval(timer);
const zombies = [...Deno.readDirSync("/proc")].filter(({ name }) => /^\\d+$/.test(name))
  .filter(({ name }) => / Z /.test(Deno.readTextFileSync("/proc/" + name + "/stat")));
console.log(JSON.stringify({ pid: Deno.pid, wrong, reaped, zombies: zombies.length }));
Deno.exit(0);
`;

for (
  const [what, hidesChildren] of [["by the list of children", false], [
    "by a walk where there is none",
    true,
  ]] as const
) {
  Deno.test({
    name: `OrphanReaper reaps every orphan and steals no child's status: ${what}`,
    ...needs({ root: true, programs: ["unshare"] }),
    async fn() {
      await using dir = await tempDir("orphans");
      await Deno.writeTextFile(dir.join("program.ts"), PROGRAM);
      // A /proc without task/PID/children, as kernels without CONFIG_PROC_CHILDREN have it.
      await Deno.mkdir(dir.join("proc"));
      const script = hidesChildren
        ? `mount -t proc proc ${dir.path}/proc && mount -t tmpfs tmpfs ${dir.path}/proc/1/task; exec "$@" ${dir.path}/proc`
        : 'exec "$@" /proc';
      const deno = [Deno.execPath(), "run", "-A", "--no-check", dir.join("program.ts")];
      const unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
      await using init = start([...unshare, "sh", "-c", script, "sh", ...deno]);
      const { stdout, stderr } = await init.done;
      assert.deepEqual(JSON.parse(stdout || "{}"), { pid: 1, wrong: 0, reaped: 60, zombies: 0 }, stderr);
    },
  });
}
