import type { Allowance } from "@damselfly/limits";

const BITS = 32;
const WORDS_PER_PAGE = 32;
const NUMBERS_PER_PAGE = BITS * WORDS_PER_PAGE;
/** A page with what is around it: 128 bytes of numbers, the array and its place in the map. */
export const PAGE_LENGTH = 384;

/** A set of piece numbers, below 2^32: a bit for each, in pages that exist when they are needed. */
export class PieceNumbers {
  readonly #pages = new Map<number, Uint32Array>();
  readonly #allowance: Allowance;
  #size = 0;

  /** @param allowance in bytes, for all that share it */
  constructor(allowance: Allowance) {
    this.#allowance = allowance;
  }

  get size(): number {
    return this.#size;
  }

  /** False: there is no memory for it. */
  add(number: number): boolean {
    const page = this.#page(Math.floor(number / NUMBERS_PER_PAGE));
    if (page === undefined) return false;
    const [word, bit] = placeOf(number);
    const before = page[word] ?? 0;
    page[word] = before | bit;
    if ((before & bit) === 0) this.#size += 1;
    return true;
  }

  has(number: number): boolean {
    const page = this.#pages.get(Math.floor(number / NUMBERS_PER_PAGE));
    const [word, bit] = placeOf(number);
    return ((page?.[word] ?? 0) & bit) !== 0;
  }

  /** Whether there is a number here that the other one lacks. */
  exceeds(other: PieceNumbers): boolean {
    for (const [index, page] of this.#pages) {
      const others = other.#pages.get(index);
      if (page.some((word, place) => (word & ~(others?.[place] ?? 0)) !== 0)) return true;
    }
    return false;
  }

  clear(): void {
    this.#allowance.giveBack(this.#pages.size * PAGE_LENGTH);
    this.#pages.clear();
    this.#size = 0;
  }

  #page(index: number): Uint32Array | undefined {
    const known = this.#pages.get(index);
    if (known !== undefined) return known;
    if (!this.#allowance.take(PAGE_LENGTH)) return undefined;
    const page = new Uint32Array(WORDS_PER_PAGE);
    this.#pages.set(index, page);
    return page;
  }
}

/** Within its page: which word, and which bit of it. */
function placeOf(number: number): [word: number, bit: number] {
  const place = number % NUMBERS_PER_PAGE;
  return [place >>> 5, 1 << (place & (BITS - 1))];
}
