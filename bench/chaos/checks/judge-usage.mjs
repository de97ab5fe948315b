// Whether what processes hold stays within bounds, and does not grow.

const MIB = 2 ** 20;
/** Of a daemon with its data plane, and of a scheduler, whatever they do. */
const BYTES_MAX = { daemon: 900 * MIB, scheduler: 300 * MIB };
const FILES_MAX = { daemon: 1_000, scheduler: 300 };
/** How much more the steady node may hold at the end than at the first checkpoint, both times with nothing to do. */
const GROWTH_MAX = 0.1;
/** Less than this is noise: a pool of connections. */
const FILES_SLACK = 8;

/** @param samples - of UsageWatch; @returns what is wrong, in words */
export function judgePeaks(samples) {
  const worst = new Map();
  for (const sample of samples) {
    const kind = sample.name === "scheduler" ? "scheduler" : "daemon";
    if (sample.bytes > BYTES_MAX[kind])
      keepWorst(worst, `${sample.name} memory`, sample, "bytes", BYTES_MAX[kind]);
    if (sample.fileCount > FILES_MAX[kind])
      keepWorst(worst, `${sample.name} descriptors`, sample, "fileCount", FILES_MAX[kind]);
  }
  return [...worst].map(
    ([what, { sample, field, limit }]) =>
      `${what}: ${sample[field]}, expected at most ${limit}, at ${new Date(sample.atMs).toISOString()}`,
  );
}

function keepWorst(worst, what, sample, field, limit) {
  if ((worst.get(what)?.sample[field] ?? 0) >= sample[field]) return;
  worst.set(what, { sample, field, limit });
}

/**
 * Files on the disk do not count: as many as there are pieces moving stay open for half a minute after their last use, and never more than
 * a bound that the peaks are held to.
 *
 * @param {{ bytes: number, fileCount: number, diskFileCount: number }[]} checkpoints - of the steady node, in order
 * @returns what is wrong, in words
 */
export function judgeGrowth(checkpoints) {
  const [first] = checkpoints;
  const last = checkpoints.at(-1);
  if (first === undefined || last === first) return [];
  const problems = [];
  if (last.bytes > first.bytes * (1 + GROWTH_MAX))
    problems.push(`memory grew from ${first.bytes} to ${last.bytes} bytes`);
  const [before, after] = [first, last].map((each) => each.fileCount - each.diskFileCount);
  if (after > Math.max(before * (1 + GROWTH_MAX), before + FILES_SLACK))
    problems.push(`descriptors that are no files grew from ${before} to ${after}`);
  return problems;
}
