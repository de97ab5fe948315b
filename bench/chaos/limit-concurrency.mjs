// So many at a time.

/** @returns a function that calls what it is given when it is its turn, and resolves with what comes of it */
export function limitConcurrency(countMax) {
  let count = 0;
  const waiting = [];
  return async (act) => {
    if (count >= countMax) await new Promise((resolve) => waiting.push(resolve));
    count += 1;
    try {
      return await act();
    } finally {
      count -= 1;
      waiting.shift()?.();
    }
  };
}
