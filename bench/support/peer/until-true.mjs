/** Looks every few milliseconds. Resolves with whether it became true in time. */
export async function untilTrue(isTrue, ms) {
  const endAt = performance.now() + ms;
  while (!isTrue()) {
    if (performance.now() > endAt) return false;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return true;
}
