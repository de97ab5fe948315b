/** The middle of some numbers, or between the two in the middle; undefined: there are none. */
export function median(numbers) {
  const sorted = [...numbers].toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1 || sorted.length === 0) return sorted[middle];
  return (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of what `pick` makes of each; what it makes nothing of is left out. */
export function medianOf(items, pick) {
  return median(items.map(pick).filter((value) => value !== undefined && !Number.isNaN(value)));
}

/** By what `keyOf` says, in the order in which the keys come first. */
export function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
