import type { MemorySample } from "./worker-protocol.ts";

/** Fewer looks than this say nothing: what is loaded and compiled first is growth, too. */
const SAMPLE_COUNT_MIN = 12;
const MIB = 2 ** 20;
/** What may be added between the second quarter of a run and its last one: an allocator's slack, a full cache. */
const RSS_GROWTH_MAX = { share: 0.25, bytes: 40 * MIB };
const HELD_GROWTH_MAX = { share: 0.25, bytes: 20 * MIB };

/**
 * Whether memory is flat: it may not be more at the end of a run than it was after a quarter of it, but for some slack. Looks of several
 * processes, one after the other, count from the last one on.
 *
 * @returns why not; undefined if it is, or if that cannot be said
 */
export function judgeMemory(samples: readonly MemorySample[]): string | undefined {
  const last = samples.findLastIndex(
    ({ unitCount }, index) => unitCount < (samples[index - 1]?.unitCount ?? 0),
  );
  const own = samples.slice(Math.max(0, last));
  if (own.length < SAMPLE_COUNT_MIN) return undefined;
  const quarter = Math.floor(own.length / 4);
  const early = own.slice(quarter, 2 * quarter);
  const late = own.slice(-quarter);
  for (const [name, kind, limit] of [
    ["the process", "rss", RSS_GROWTH_MAX],
    ["JavaScript", "held", HELD_GROWTH_MAX],
  ] as const) {
    const before = median(early.map((sample) => sample[kind]));
    const after = median(late.map((sample) => sample[kind]));
    if (after - before <= Math.max(limit.bytes, limit.share * before)) continue;
    return `memory of ${name} has grown from ${inMib(before)} to ${inMib(after)} MiB`;
  }
  return undefined;
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

function inMib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}
