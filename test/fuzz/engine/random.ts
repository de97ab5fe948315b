/**
 * Random numbers that come again with the same start value. Every input of a run has its own, made of the run's start value and the
 * input's number, so that one input can be made anew without those before it.
 *
 * The generator is Bryc's mulberry32: 32 bits of state are plenty for one input.
 */
export class Random {
  #state: number;

  /** @param numbers integers; the same ones lead to the same sequence */
  constructor(...numbers: readonly number[]) {
    let state = 0x9e37_79b9;
    for (const number of numbers) {
      state = scramble(state ^ (number | 0));
      state = scramble(state ^ Math.floor(number / 2 ** 32));
    }
    this.#state = state;
  }

  /** An integer from 0 up to 2^32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    return scramble(this.#state) >>> 0;
  }

  /** An integer from 0 to `count - 1`; 0 where there is nothing to choose from. */
  below(count: number): number {
    return count <= 1 ? 0 : this.next() % count;
  }

  /** @param among at least one */
  pick<T>(among: readonly T[]): T {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the index is one of the list's
    return among[this.below(among.length)] as T;
  }

  /** Once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

function scramble(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return mixed ^ (mixed >>> 14);
}
