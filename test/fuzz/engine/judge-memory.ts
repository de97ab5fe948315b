import type { MemorySample } from "./worker-protocol.ts";

/** Fewer looks than this say nothing: what is loaded and compiled first is growth, too. */
const SAMPLE_COUNT_MIN = 12;
const MIB = 2 ** 20;
/** What may be added between the second quarter of a run and its last one: an allocator's slack, a full cache. */
const RSS_GROWTH_MAX = { share: 0.25, bytes: 40 * MIB };
const HELD_GROWTH_MAX = { share: 0.25, bytes: 20 * MIB };
/** What may be added in a run that need not have come to rest; some need half of it. */
const SHORT_GROWTH_MAX = 96 * MIB;
/** What the process of any target may be at a time; some need a third of it. */
const PEAK_MAX = 512 * MIB;

/**
 * Whether memory is flat: it may not be more at the end of a run than it was after a quarter of it, but for some slack. Looks of several
 * processes, one after the other, count from the last one on.
 *
 * @returns why not; undefined if it is, or if that cannot be said
 */
export function judgeMemory(samples: readonly MemorySample[]): string | undefined {
  const own = ofLastProcess(samples);
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

/**
 * The same of a run that is too short for that: from the first look, when everything has been loaded and the corpus been run, to the last one
 * it may not grow by far more than what is compiled and cached meanwhile, nor ever take far more than any target needs.
 *
 * @returns why not, or that it cannot be said; undefined if it is
 */
export function judgeShortRun(samples: readonly MemorySample[]): string | undefined {
  const own = ofLastProcess(samples);
  const [first] = own;
  const last = own.at(-1);
  if (first === undefined || last === undefined || own.length < 2)
    return "memory was looked at less than twice";
  if (last.peak > PEAK_MAX) return `memory of the process was ${inMib(last.peak)} MiB at a time`;
  for (const [name, kind] of [
    ["the process", "rss"],
    ["JavaScript", "held"],
  ] as const) {
    if (last[kind] - first[kind] <= SHORT_GROWTH_MAX) continue;
    return `memory of ${name} has grown from ${inMib(first[kind])} to ${inMib(last[kind])} MiB`;
  }
  return undefined;
}

function ofLastProcess(samples: readonly MemorySample[]): readonly MemorySample[] {
  const start = samples.findLastIndex(
    ({ unitCount }, index) => unitCount < (samples[index - 1]?.unitCount ?? 0),
  );
  return samples.slice(Math.max(0, start));
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

function inMib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}
