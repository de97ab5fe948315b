/** Park and Miller's generator: the same numbers from 0 to 1 for the same start value, an integer from 1. */
export function createRandom(start: number): () => number {
  let state = start % 2_147_483_647 || 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
