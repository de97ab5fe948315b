// What this process takes of the machine.
import { readdirSync } from "node:fs";

/**
 * CPU seconds of all threads so far, resident memory now and at most, and what is open.
 *
 * @param options.collect - whether to collect garbage first, which needs --expose-gc
 */
export function takeUsage({ collect = false } = {}) {
  if (collect) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    rssBytes: process.memoryUsage.rss(),
    peakBytes: process.resourceUsage().maxRSS * 1024,
    resourceCount: process.getActiveResourcesInfo().length,
    fileCount: countFiles(),
  };
}

/** Open file descriptors; undefined where /proc does not show them. */
function countFiles() {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}
