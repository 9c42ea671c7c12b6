#!/bin/sh
# Slurm epilog: ends the probe that the prolog started, and leaves a report and the ring of the job. Ends with 0
# whatever happens, as Slurm drains the node otherwise.
set -u

directory=${DAVIT_VITALS_DIR:-/var/log/davit}
davit=${DAVIT:-davit}

end_probe() {
  base=$directory/job-${SLURM_JOB_ID:?} || return
  if read -r pid <"$base.pid"; then
    # The number may be another process's by now: ours has the ring in its command line.
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$base.ring"; then
      kill "$pid"
      tries=50
      while [ -e "/proc/$pid" ] && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
      done
    fi
    rm -f "$base.pid"
  fi
  timeout 60 "$davit" vitals report "$base.ring" >"$base.report.txt"
}

(end_probe) || echo "davit: no report for job ${SLURM_JOB_ID:-unknown}" >&2
# Twenty days of reports and rings are enough.
find "$directory" -maxdepth 1 -name 'job-*' -mtime +20 -delete 2>/dev/null
exit 0
