/** Lets something happen `perSecond` times a second on average, and `burst` times at once after a pause. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #count: number;
  #filledAt: number;

  /** @param now in milliseconds of any clock that does not run backwards; the same in all calls */
  constructor(
    { perSecond, burst }: { readonly perSecond: number; readonly burst: number },
    now: number,
  ) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#count = burst;
    this.#filledAt = now;
  }

  /** How often it may happen at once, at this moment. */
  available(now: number): number {
    this.#count = Math.min(this.#burst, this.#count + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
    return Math.floor(this.#count);
  }

  /** False if it must not happen now. */
  take(now: number): boolean {
    if (this.available(now) < 1) return false;
    this.#count--;
    return true;
  }
}
