// Who is there.

export const SEED = "seed";
export const SCHEDULER = "scheduler";
export const ORIGIN = "origin";
export const LIAR = "liar";

/** Names of the nodes that run a daemon: a seed, and so many peers. */
export function nodeNames(peerCount) {
  return [SEED, ...Array.from({ length: peerCount }, (_, index) => `peer-${index + 1}`)];
}

/** Whose processes nobody kills or stops, so that what they hold can be compared over the run: the last peer's. */
export function steadyNode(peerCount) {
  return `peer-${peerCount}`;
}
