/**
 * Memory so short that nothing got on, and yet nobody was killed: the machine thrashes, or memory.high throttles.
 * Bars: oomd 40 % over 10 s (rising), systemd-oomd 60 % over 30 s.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import type { Facts, Window } from "../facts.ts";
import type { Finding } from "../types.ts";

const BARS = [{ spanMs: 30_000, percent: 60 }, { spanMs: 10_000, percent: 40 }] as const;
const AVERAGE_PERCENT = 40;
const AVAILABLE_SHARE = 0.1;
const LIMIT_SHARE = 0.98;

/** Stalled for memory, and short of it: pressure alone also comes from reclaiming page cache. */
export function memoryStarvation(facts: Facts): Finding | undefined {
  const stalled = stalledWindow(facts);
  if (stalled === undefined) return undefined;
  const why = shortage(facts);
  if (why === undefined) return undefined;
  return {
    class: "memory_starvation",
    confidence: "medium",
    summary: `All tasks waited for memory ${stalled.mean.toFixed(0)} % of ${
      (stalled.spanMs / 1000).toFixed(0)
    } s; ${why}`,
    evidence: [evidence(stalled.first), evidence(stalled.last)],
    check: [
      "a higher limit or less memory: the job was alive but could not get on",
      "swap and page cache: mem_file_bytes near zero at the limit means that code itself is read again and again",
    ],
  };
}

function stalledWindow(facts: Facts): Window | undefined {
  for (const { spanMs, percent } of BARS) {
    const window = facts.worstShare("mem_psi_full_usec", spanMs);
    if (window !== undefined && window.mean >= percent) return window;
  }
  if (facts.has("mem_psi_full_usec")) return undefined;
  // The peer has only the 10 s average, which needs 5 s of a total stall to get to 40 %.
  const window = facts.worstMean("mem_psi_full_avg10", 2 * facts.intervalMs);
  return window !== undefined && window.mean >= AVERAGE_PERCENT ? window : undefined;
}

function shortage({ samples, last, limitBytes: limit }: Facts): string | undefined {
  const [available, total] = [last?.number("vm_mem_avail_kb"), last?.number("vm_mem_total_kb")];
  const current = last?.number("mem_current");
  if (available !== undefined && total !== undefined && available < AVAILABLE_SHARE * total) {
    return `the machine had ${(100 * available / total).toFixed(1)} % of its memory left`;
  }
  if (current !== undefined && limit !== undefined && current >= LIMIT_SHARE * limit) {
    return `the cgroup was at ${(100 * current / limit).toFixed(1)} % of its limit`;
  }
  const isThrottled = samples.slice(-10).some((sample) => (sample.number("mem_high_events") ?? 0) > 0);
  return isThrottled ? "the cgroup was throttled at memory.high" : undefined;
}
