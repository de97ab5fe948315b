// Random numbers that are the same for the same start value, on every machine and every Node.
import { createHash } from "node:crypto";

/**
 * Numbers from SHA-256 in counter mode over a start value and a name: streams of different names tell nothing of each other, so
 * what one part of a schedule draws does not move what another part draws.
 *
 * @param {string | number} start
 * @param {string} name
 */
export function createRandom(start, name) {
  let block = Buffer.alloc(0);
  let position = 0;
  let count = 0;
  const word = () => {
    if (position === block.byteLength) {
      block = createHash("sha256").update(`${start}/${name}/${count}`).digest();
      count += 1;
      position = 0;
    }
    position += 4;
    return block.readUInt32BE(position - 4);
  };
  const random = {
    /** In [0, 1). */
    fraction: () => (word() * 2 ** 21 + (word() >>> 11)) / 2 ** 53,
    /** From `low` to `high`, both included. */
    integer: (low, high) => low + Math.floor(random.fraction() * (high - low + 1)),
    chance: (probability) => random.fraction() < probability,
    pick: (list) => list[random.integer(0, list.length - 1)],
    /** Of a list of `[item, weight]`. */
    weighted(list) {
      let rest = random.fraction() * list.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [item, weight] of list) {
        rest -= weight;
        if (rest < 0) return item;
      }
      return list.at(-1)[0];
    },
    /** `countMax` different ones, all if there are no more, in random order. */
    sample(list, countMax) {
      const rest = [...list];
      const taken = [];
      while (taken.length < countMax && rest.length > 0)
        taken.push(...rest.splice(random.integer(0, rest.length - 1), 1));
      return taken;
    },
    /** A time to the next event of a process without memory. */
    pause: (mean) => -Math.log(1 - random.fraction()) * mean,
  };
  return random;
}
