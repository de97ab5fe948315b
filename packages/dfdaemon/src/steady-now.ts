/**
 * Milliseconds since some moment, on a clock that never goes back and does not jump when the machine's clock is set: for pauses and bounds, and
 * for what is told of them. Of the date it says nothing.
 */
export function steadyNow(): number {
  return performance.now();
}
