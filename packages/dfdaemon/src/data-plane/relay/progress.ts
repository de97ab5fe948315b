/** How often a piece in flight is looked at, in milliseconds. */
export const LOOK_MS = 200;
/** Rates are means over the time from the first of these to now. */
const LOOK_COUNT = 3;
/** Each look brings so much more than the one before while a connection finds out what the path takes. */
const GROWTH_MIN = 1.3;
/** Share of its time that a piece waits for the network when it is the network that is slow. */
const STARVED_SHARE = 0.7;

interface Mark {
  readonly at: number;
  readonly received: number;
  readonly waitedMs: number;
}

/** How a piece in flight gets on. Knows its bytes only; whoever drives it says when to look. */
export class Progress {
  readonly startedAt: number;
  readonly #now: () => number;
  #received = 0;
  #waitedMs = 0;
  #waitingSince: number | undefined;
  #arrivedAt: number;
  #marks: Mark[];

  /** @param now milliseconds on a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
    this.startedAt = now();
    this.#arrivedAt = this.startedAt;
    this.#marks = [{ at: this.startedAt, received: 0, waitedMs: 0 }];
  }

  /** Bytes. */
  get received(): number {
    return this.#received;
  }

  get elapsedMs(): number {
    return this.#now() - this.startedAt;
  }

  /** The consumer wants more and waits. */
  waits(): void {
    this.#waitingSince ??= this.#now();
  }

  /** A chunk came, and the consumer has it. */
  arrived(length: number): void {
    const now = this.#now();
    if (this.#waitingSince !== undefined) this.#waitedMs += now - this.#waitingSince;
    this.#waitingSince = undefined;
    this.#arrivedAt = now;
    this.#received += length;
  }

  look(): void {
    this.#marks.push({ at: this.#now(), received: this.#received, waitedMs: this.waitedMs });
    if (this.#marks.length > LOOK_COUNT) this.#marks.shift();
  }

  /** Bytes a millisecond of late. */
  get rate(): number {
    const [since] = this.#marks;
    return (this.#received - since!.received) / Math.max(this.#now() - since!.at, 1);
  }

  /** Whether it still gets faster with each look. */
  get isGrowing(): boolean {
    const [first, second, third] = this.#marks;
    if (first === undefined || second === undefined || third === undefined) return false;
    const before = (second.received - first.received) / Math.max(second.at - first.at, 1);
    const after = (third.received - second.received) / Math.max(third.at - second.at, 1);
    return after > GROWTH_MIN * before;
  }

  /** Whether it waits for the network, and not for its consumer. */
  get isStarved(): boolean {
    const [since] = this.#marks;
    return this.waitedMs - since!.waitedMs >= STARVED_SHARE * (this.#now() - since!.at);
  }

  /** For how long the consumer has waited in vain, in milliseconds. */
  get silentMs(): number {
    if (this.#waitingSince === undefined) return 0;
    return this.#now() - Math.max(this.#arrivedAt, this.#waitingSince);
  }

  /** For how long the consumer has waited, all in all. Milliseconds. */
  get waitedMs(): number {
    const since = this.#waitingSince;
    return this.#waitedMs + (since === undefined ? 0 : this.#now() - since);
  }
}
