// How long a download may take: what docs/limits.md lets it wait for nothing, and what went wrong meanwhile.
import { relationOf } from "../incidents.mjs";

/** The longest wait for something that does not come while nothing is wrong: a scheduler of ours that says nothing. Milliseconds. */
const QUIET_MS = 40_000;
/** Besides: for starting, connecting and finishing, on a machine that is as fast as it should be. Milliseconds. */
const WORK_MS = 5_000;
/** And what it gets at least there. Bytes per millisecond. */
const RATE_MIN = 2_000;
/** Whatever happens. Milliseconds. */
const DISTURBED_MS_MAX = 240_000;
/** What another node's trouble costs, and how often: a parent that stalls is dropped after 15 s, and others are there. */
const PARENT_MS = 16_000;
const PARENT_COUNT_MAX = 3;

/** By kind and whose it is: how long its consequences may last beyond it, by the time-outs of docs/limits.md. Milliseconds. */
function settleMs({ kind, how }, relation) {
  switch (kind) {
    case "stop-scheduler":
    case "kill-scheduler":
    case "restart-scheduler":
      return 35_000; // it says nothing for 30 s, then the origin is asked
    case "origin-error":
      if (relation !== "origin") return 0;
      return how === "silent" ? 70_000 : 35_000; // a header for 60 s, a byte for 30 s, tried again
    case "cut":
    case "split":
    case "link":
      return 35_000; // no byte from the origin for 30 s
    case "lie":
      return relation === "file" ? 35_000 : 0; // a parent that brings nothing for 15 s, twice
    default:
      return 17_000; // a data plane that ends again and again is started anew after 15 s
  }
}

/**
 * @param {{ download: object, length: number, incidents: object[], fromMs: number, nowMs: number, slowness: number }} about - `length`: of
 *   the longest version, in bytes; `incidents`: those that lasted since `fromMs`
 * @returns milliseconds from `fromMs` on
 */
export function timeBoundMs({ download, length, incidents, fromMs, nowMs, slowness }) {
  const sleptMs = download.sleeps?.durationMs ?? 0;
  if (download.timeoutSeconds !== undefined) {
    return (download.timeoutSeconds * 1_000 + 5_000) * slowness + sleptMs;
  }
  // Several at a time are waited for at a time: what counts is when the last is over.
  let quietMs = fromMs;
  let parentCount = 0;
  for (const { fault, untilMs } of incidents) {
    const relation = relationOf(fault, download);
    if (relation === "other file") continue;
    if (relation === "other") parentCount += 1;
    else quietMs = Math.max(quietMs, Math.min(untilMs, nowMs) + settleMs(fault, relation));
  }
  const parentMs = Math.min(parentCount, PARENT_COUNT_MAX) * PARENT_MS;
  const disturbedMs = Math.min(quietMs - fromMs, DISTURBED_MS_MAX) + parentMs;
  return disturbedMs + QUIET_MS + (WORK_MS + length / RATE_MIN) * slowness + sleptMs;
}
