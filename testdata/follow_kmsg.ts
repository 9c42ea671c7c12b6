/**
 * Follows a kernel log in a process of its own, for tests that trace it: prints a line for each thing it is told and
 * ends with its counts when its standard input ends. Arguments: the path.
 *
 * @module
 */
import { openKmsg } from "../lib/host/kmsg_device.ts";
import { KmsgFollower } from "../lib/host/kmsg_follow.ts";

const path = Deno.args[0]!;
const opening = openKmsg(path);
if (opening.state !== "ok") {
  say({ state: opening.state, errno: opening.errno });
  Deno.exit(0);
}
const follower = new KmsgFollower({
  device: opening.device,
  reopen: () => undefined,
  listener: {
    onRecord: ({ seq, text }, isOld) => say({ seq, text, isOld }),
    onCaughtUp: () => say({ caughtUp: true }),
    onLost: (count) => say({ lost: count }),
    onDown: (errno) => say({ down: errno }),
    onUp: () => say({ up: true }),
  },
});
await Deno.stdin.read(new Uint8Array(1));
await follower.close();
say({ counts: follower.counts });

function say(value: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
}
