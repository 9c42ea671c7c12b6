#!/bin/sh
# Slurm prolog: watches the node for as long as a job has it. Ends with 0 whatever happens, as Slurm drains the node
# otherwise. Slurm sets SLURM_JOB_ID.
set -u

directory=${DAVIT_VITALS_DIR:-/var/log/davit}
davit=${DAVIT:-davit}

start_probe() {
  job=${SLURM_JOB_ID:?} || return
  mkdir -p "$directory" || return
  # In a session of its own, with nothing of slurmd's open: slurmd waits for what a prolog leaves behind.
  setsid "$davit" vitals run --ring "$directory/job-$job.ring" --workdir "$directory" \
    </dev/null >/dev/null 2>&1 &
  echo $! >"$directory/job-$job.pid"
}

(start_probe) || echo "davit: no vitals for job ${SLURM_JOB_ID:-unknown}" >&2
exit 0
