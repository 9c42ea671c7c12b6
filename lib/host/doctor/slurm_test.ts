import { assertFinding, binDir, look } from "../../../testdata/doctor.ts";
import { slurmCheck } from "./slurm.ts";

const path = Deno.env.get("PATH")!;

Deno.test("doctor: slurm there, in a job, its controller down, silent, absent", async (t) => {
  const rows = [
    [
      "up",
      { PATH: `${binDir("slurm_up")}:${path}` },
      "ok",
      /^outside a job; Slurmctld\(primary\) at login1 is UP$/,
    ],
    [
      "in a job",
      { PATH: `${binDir("slurm_up")}:${path}`, SLURM_JOB_ID: "42" },
      "ok",
      /^in job 42; .* is UP$/,
    ],
    ["down", { PATH: `${binDir("slurm_down")}:${path}` }, "degraded", /no controller answers: .* is DOWN/],
    ["silent", { PATH: `${binDir("slurm_hung")}:${path}` }, "degraded", /scontrol ping does not answer/],
    ["absent", { PATH: "/nonexistent" }, "missing", /outside a job; not on PATH: scontrol and srun/],
    [
      "a job's container",
      { PATH: "/nonexistent", SLURM_JOB_ID: "4\u001b2" },
      "degraded",
      /in job 4\\u001b2; not on/,
    ],
  ] as const;
  for (const [name, env, state, detail] of rows) {
    await t.step(name, async () => {
      assertFinding(await look(slurmCheck(env), name === "silent" ? 300 : 10_000), state, detail);
    });
  }
});
