import type { ContentRates } from "../../content-limits.ts";

/** Of an even share, what a process has in any case: enough to show that it could use more. */
const LEAST = 1 / 4;

/**
 * Divides rates among processes by what each has moved of late, so that those with much to do are not held to an even share while others
 * have nothing to do. Together they have the whole, whatever they have moved.
 *
 * @param moved by each process since the last time, in bytes
 */
export function shareRates(rates: ContentRates, moved: readonly ContentRates[]): ContentRates[] {
  const [uploadRates, downloadRates, originRates] = [
    shareRate(
      rates.uploadRate,
      moved.map(({ uploadRate }) => uploadRate),
    ),
    shareRate(
      rates.downloadRate,
      moved.map(({ downloadRate }) => downloadRate),
    ),
    shareRate(
      rates.originRate,
      moved.map(({ originRate }) => originRate),
    ),
  ];
  return moved.map((_, index) => ({
    uploadRate: uploadRates[index] ?? 0,
    downloadRate: downloadRates[index] ?? 0,
    originRate: originRates[index] ?? 0,
  }));
}

function shareRate(rate: number, moved: readonly number[]): number[] {
  const even = rate / moved.length;
  const total = moved.reduce((sum, length) => sum + length, 0);
  if (rate === Infinity || total === 0) return moved.map(() => even);
  const least = even * LEAST;
  const rest = rate - least * moved.length;
  return moved.map((length) => least + (rest * length) / total);
}
