/** A round trip is believed for one to two of these, in milliseconds: routes change, and what queues is no distance. */
const WINDOW_MS = 300_000;

/** The least round trip time of late. */
export class LeastRtt {
  readonly #now: () => number;
  #window: { readonly since: number; leastMs: number; readonly formerLeastMs: number } | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Milliseconds; undefined: nothing is known. */
  get ms(): number | undefined {
    return this.#window && Math.min(this.#window.leastMs, this.#window.formerLeastMs);
  }

  note(ms: number): void {
    const since = this.#now();
    const ageMs = since - (this.#window?.since ?? -Infinity);
    if (this.#window === undefined || ageMs > 2 * WINDOW_MS) {
      this.#window = { since, leastMs: ms, formerLeastMs: Infinity };
    } else if (ageMs > WINDOW_MS) {
      this.#window = { since, leastMs: ms, formerLeastMs: this.#window.leastMs };
    } else {
      this.#window.leastMs = Math.min(this.#window.leastMs, ms);
    }
  }
}
