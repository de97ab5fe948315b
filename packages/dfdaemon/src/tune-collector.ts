import { setFlagsFromString } from "node:v8";

/**
 * Keeps V8 from marking the whole heap again and again while content streams through this process.
 *
 * Node gives every read from a socket memory of its own, outside V8's heap, which is freed when the object in front of it is
 * collected. Those objects are few and tiny, so the young generation hardly fills up; meanwhile their memory counts against the
 * limit of the old one, which is marked in full, by all helper threads, every 18 MB of content or so: a third and more of the CPU
 * time of a receiving daemon. Collecting the young generation earlier and giving the old one more room leaves next to none of that.
 *
 * Takes effect from the next collection on. What V8 does not know, it says on standard error and ignores.
 */
export function tuneCollector(): void {
  for (const flag of COLLECTOR_FLAGS) setFlagsFromString(flag);
}

/** The same as options of `node`. */
export const COLLECTOR_FLAGS: readonly string[] = [
  // Collect the young generation, between two turns of the event loop, when it is this full. Percent of its size, default 80.
  "--minor-gc-task-trigger=12",
  // Mark the old one when it has grown by this much since the last time, memory outside the heap included. Percent, default: V8's guess.
  "--heap-growing-percent=200",
];

/**
 * What is to be said when a process starts that content streams through: its young generation does not get smaller than this, in MiB, V8's own
 * limit of what it grows to. When there is nothing to do it would shrink to one, of which a few percent are full with every few reads, and
 * the first download after a pause would collect it three times as often. It takes memory only where something has been put.
 */
export const START_FLAGS: readonly string[] = ["--min-semi-space-size=16"];
