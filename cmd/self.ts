/**
 * `self`: where this davit runs from, and its unpacked parts.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import { BUNDLED_TOOLS, selfFacts } from "../lib/host/self.ts";
import { formatBytes } from "../lib/units.ts";
import { VERSION } from "../lib/version.ts";
import type { Context } from "./context.ts";

const HELP = `
The portable file unpacks its parts at its first start, into the first directory that works of DAVIT_CACHE,
XDG_CACHE_HOME/davit, ~/.cache/davit, /var/cache/davit, /var/tmp/davit-UID, /dev/shm/davit-UID and
/tmp/davit-UID: owned by you or root, writable by nobody else, not mounted noexec, with room enough. Where none does,
it runs from memory (about 100 MB) and says so. The directory may be removed at any time; the next start
makes it again.

Examples:
  davit self
  davit self unpack /opt/davit && export DAVIT_CACHE=/opt/davit
  davit self clean
  davit self tool unsquashfs -l /shared/pytorch.sqsh

Exit status (error.code): 0 done; 64 wrong usage, or nothing is packed in this davit (not_portable).`;

const UNPACK_HELP = `
For images with a read-only root, and for users who share one copy: run it where the image is built, as root, and
set DAVIT_CACHE=DIR there. Files of root that nobody else can write to are taken by every user.

Examples:
  davit self unpack /opt/davit
  docker build: ENV DAVIT_CACHE=/opt/davit
                RUN davit self unpack /opt/davit

Exit status (error.code): 0 done; 64 this davit is not the portable file (not_portable); 69 the portable file was
removed meanwhile (davit_gone); 73 the directory will not do (cannot_create), with the reason.`;

const CLEAN_HELP = `
Looks in all the places where the portable file may have unpacked itself, and removes what other versions left.
What this davit runs from stays, unless --all is given: then the next start unpacks again. Downloaded image layers,
which lie beside, are not touched.

Examples:
  davit self clean
  davit self clean --all --json

Exit status (error.code): 0 done; 74 something could not be removed (cannot_remove).`;

const TOOL_HELP = `
The portable file carries ${
  BUNDLED_TOOLS.join(" and ")
} for hosts that have none. They read and write as the tool itself
would: same arguments, streams and exit status.

Examples:
  davit self tool unsquashfs -l /shared/pytorch.sqsh

Exit status (error.code): the tool's own; 64 no such tool, or nothing is packed in this davit (not_portable).`;

/** Builds the command and its subcommands. */
export function selfCommand(context: Context): CommandUnknownOpts {
  return new Command("self")
    .description("Show where this davit runs from")
    .enablePositionalOptions()
    .addHelpText("after", HELP)
    .action(async () => {
      const facts = selfFacts();
      const { unpackedBytes } = await import("../lib/host/self_cache.ts");
      const bytes = facts.unpacked ? await unpackedBytes(facts.unpacked) : undefined;
      const tools = facts.mode === "portable" ? BUNDLED_TOOLS : [];
      const { arch } = Deno.build;
      const lines = [`davit ${VERSION}, ${facts.mode}, ${arch}, deno ${Deno.version.deno}: ${facts.file}`];
      if (facts.unpacked === null) lines.push("unpacked in memory: no directory would do");
      else if (facts.unpacked) lines.push(`unpacked in ${facts.unpacked} (${formatBytes(bytes ?? 0)})`);
      if (tools.length > 0) lines.push(`carries ${tools.join(", ")}`);
      context.result(
        {
          version: VERSION,
          arch,
          deno: Deno.version.deno,
          ...facts,
          ...bytes !== undefined && { bytes },
          tools,
        },
        lines.join("\n"),
      );
    })
    .addCommand(unpack(context))
    .addCommand(clean(context))
    .addCommand(tool());
}

function unpack(context: Context): CommandUnknownOpts {
  return new Command("unpack")
    .description("Unpack the parts of the portable file for all users of a directory")
    .argument("<dir>", "where to; made if it is missing")
    .addHelpText("after", UNPACK_HELP)
    .action(async (dir) => {
      const { unpackInto } = await import("../lib/host/self_cache.ts");
      const directory = await unpackInto(dir, context.signal);
      context.result({ unpacked: directory }, directory);
    });
}

function clean(context: Context): CommandUnknownOpts {
  return new Command("clean")
    .description("Remove what other versions of the portable file have unpacked")
    .option("--all", "also what this davit runs from")
    .addHelpText("after", CLEAN_HELP)
    .action(async ({ all }) => {
      const { cleanCaches } = await import("../lib/host/self_cache.ts");
      const removed = await cleanCaches(context.env, { all: all ?? false, current: selfFacts().unpacked });
      const lines = removed.map(({ directory, bytes }) => `removed ${directory} (${formatBytes(bytes)})`);
      context.result({ removed }, lines.length === 0 ? "nothing to remove" : lines.join("\n"));
    });
}

/** The launcher answers this before the runtime is started; it comes here when it had nothing to answer with. */
function tool(): CommandUnknownOpts {
  return new Command("tool")
    .description("Run a program that the portable file carries")
    .argument("<name>", BUNDLED_TOOLS.join(" or "))
    .argument("[args...]", "its arguments")
    .passThroughOptions()
    .allowUnknownOption()
    .addHelpText("after", TOOL_HELP)
    .action((name) => {
      const isPortable = selfFacts().mode === "portable";
      throw new Failure(
        "USAGE",
        isPortable
          ? `Cannot run "${name}": the portable file carries ${BUNDLED_TOOLS.join(" and ")}`
          : `Cannot run "${name}": this davit is no portable file and carries no tools`,
        isPortable
          ? { code: "usage" }
          : { code: "not_portable", hint: "`davit self` tells where it runs from" },
      );
    });
}
