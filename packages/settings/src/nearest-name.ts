/**
 * The candidate that `name` was most likely meant to be: equal but for case, `_` and `-`, or at most a third of its letters
 * (three at most) left out, added, changed or swapped. Undefined when none is that near.
 */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  const folded = foldName(name);
  let nearest: string | undefined;
  let least = Infinity;
  for (const candidate of candidates) {
    const distance = editDistance(folded, foldName(candidate));
    const limit = candidate.length < 3 ? 0 : Math.min(3, Math.floor(candidate.length / 3));
    if (distance > limit || distance >= least) continue;
    nearest = candidate;
    least = distance;
  }
  return nearest;
}

/** A name without what its spellings differ in: `ca_cert`, `caCert` and `CA-CERT` are one. */
export function foldName(name: string): string {
  return name.replaceAll(/[-_]/g, "").toLowerCase();
}

/** Letters left out, added, changed, or swapped with their neighbour (optimal string alignment). */
function editDistance(left: string, right: string): number {
  if (Math.abs(left.length - right.length) > 3) return Infinity;
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let best = Math.min(
        previous[column]! + 1,
        current[column - 1]! + 1,
        previous[column - 1]! + (same ? 0 : 1),
      );
      const swapped =
        row > 1 &&
        column > 1 &&
        left[row - 1] === right[column - 2] &&
        left[row - 2] === right[column - 1];
      if (swapped) best = Math.min(best, beforePrevious[column - 2]! + 1);
      current.push(best);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[right.length]!;
}
