/**
 * Leaves out whatever can be left out: halves first, single items last. Works on the bytes of an input as on the inputs of a run.
 *
 * @param stillFails whether what is left fails as the whole did; is asked `attemptsMax` times at most, and not after `secondsMax`
 * @returns the shortest that was found to fail; `items` itself if no shorter one does
 */
export async function minimise<T>(
  items: readonly T[],
  stillFails: (fewer: readonly T[]) => Promise<boolean>,
  options: { readonly attemptsMax: number; readonly secondsMax: number },
): Promise<readonly T[]> {
  const endsAt = Date.now() + options.secondsMax * 1000;
  let best = items;
  let attemptCount = 0;
  for (let length = Math.ceil(items.length / 2); length >= 1; length = Math.floor(length / 2)) {
    for (let at = 0; at < best.length;) {
      if (attemptCount++ >= options.attemptsMax || Date.now() > endsAt) return best;
      const fewer = [...best.slice(0, at), ...best.slice(at + length)];
      if (await stillFails(fewer)) best = fewer;
      else at += length;
    }
  }
  return best;
}
