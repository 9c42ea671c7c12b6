/**
 * `davit doctor`: what of this machine davit can use, what the rest costs, and how to mend it.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { errnoOf } from "../lib/host/errno.ts";
import { bundledTool, type ProgramStart, selfStart } from "../lib/host/self.ts";
import type { Context } from "./context.ts";

const HELP = `
Each line is a state, a name, and what is; below what is not ok, what it costs and how to mend it.

  ok        it is there and works
  degraded  it is there, but not as it should be, or it does not answer within 5 s
  missing   it is not there, or it is of no use

  flock           a lock in DIR is taken, and refused a second time; how far it reaches: this host, all hosts
                  that share DIR, this mount only (sshfs, NFS with nolock or local_lock, Lustre with
                  localflock), or not known; on overlay, only this container
  squashfs-tools  sqfstar 4.5 or newer makes images, unsquashfs checks them; on PATH, else davit's own
  enroot          starts containers from images; davit itself works without it
  docker, podman  their sockets answer: DOCKER_HOST, else /var/run/docker.sock; /run/podman/podman.sock, else
                  XDG_RUNTIME_DIR/podman/podman.sock
  slurm           srun and scontrol are on PATH, the controller answers; inside or outside a job
  kmsg            the kernel log can be read: who was killed for memory, and which GPU failed
  psi             the kernel tells how long tasks waited for cpu, memory and io
  cgroup          version, and the limits of memory, cpu and processes that hold for this process
  rpc-dir         places for the files through which a job and its container talk: each is tried
  disk            room and inodes of DIR, /, /tmp and /dev/shm; low is below 5 % or 1 GiB
  clock           the time can be right, and something synchronises it
  gpu             devices, and nvidia-smi, amd-smi or rocm-smi answer for them

A few small files are made and removed again. Only local sockets and Slurm's own programs are asked.

Examples:
  davit doctor
  davit doctor --dir /shared/images
  srun --ntasks-per-node=1 --label davit doctor --dir /shared/images
  davit doctor --json | jq -r '.checks[] | select(.state != "ok") | .name'

Exit status: 0 the report was made, whatever it says (the worst state is .state of --json); 64 wrong usage;
70 a bug; 74 the report could not be written; 78 bad configuration; 128+n interrupted by signal n.`;

/** Builds the command. */
export function doctor(context: Context): CommandUnknownOpts {
  return new Command("doctor")
    .description("Tell what of this machine davit can use, and how to mend the rest")
    .option("--dir <dir>", "where images are to be kept (default: the working directory)")
    .addOption(new Option("--probe", "make the checks for another davit doctor, which reads them").hideHelp())
    .addHelpText("after", HELP)
    .action(async ({ dir = workingDirectory(), probe: isProbe }) => {
      const { examine, probe } = await import("../lib/host/doctor.ts");
      const { env, signal, log } = context;
      const surroundings = { directory: dir, env, bundledTool };
      if (isProbe) return await probe(surroundings, { signal, say: (value) => context.result(value, "") });
      const report = await examine(surroundings, { start: () => startProbe(dir), signal, log });
      const { formatReport } = await import("../lib/host/doctor/report.ts");
      context.result(report, formatReport(report));
    });
}

function startProbe(dir: string): ProgramStart {
  const { argv, env } = selfStart();
  return { argv: [...argv, "doctor", "--probe", "--json", `--dir=${dir}`], env };
}

function workingDirectory(): string {
  try {
    return Deno.cwd();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return "."; // it was removed: the report says so
  }
}
