// What samples say of the bars.
import { medianOf } from "../support/statistics.mjs";

/**
 * Compares medians over the rounds.
 *
 * @param bars - each with `what` for people, `atLeast` or `atMost`, and one of `rateOf` and `timeOf` (with `to`) and `countOf` (with `count`)
 * @returns of each `what`, `ratio`, the bar, `isMet` and a line for people
 */
export function judge(samples, bars) {
  return bars.map((bar) => {
    const ratio = ratioOf(samples, bar);
    const { what, atLeast = 0, atMost = Infinity } = bar;
    const isMet = ratio >= atLeast && ratio <= atMost;
    const wanted = bar.atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
    const line = `${isMet ? "met   " : "MISSED"} ${what}: ${ratio.toFixed(2)}, bar ${wanted}`;
    return { what, ratio, atLeast: bar.atLeast, atMost: bar.atMost, isMet, line };
  });
}

function ratioOf(samples, { rateOf, timeOf, countOf, to, count }) {
  const of = (contender, pick) =>
    medianOf(
      samples.filter((sample) => sample.contender === contender),
      pick,
    );
  if (countOf !== undefined) return of(countOf, (sample) => sample[count]);
  const rate = ({ bytes, seconds }) => bytes / seconds;
  if (rateOf !== undefined) return of(rateOf, rate) / of(to, rate);
  const time = ({ seconds, isWhole }) => (isWhole ? seconds : Infinity);
  return of(timeOf, time) / of(to, time);
}
