/** Times in milliseconds, of any clock that does not go back. */
export interface BreakerPolicy {
  /** Held back after the first failure, at most. */
  readonly firstHoldMs: number;
  /** Doubled with each failure up to this. */
  readonly holdMaxMs: number;
  /** After so many failures in a row it counts as open. */
  readonly openAfter: number;
}

export const DEFAULT_BREAKER_POLICY: BreakerPolicy = {
  firstHoldMs: 200,
  holdMaxMs: 60_000,
  openAfter: 3,
};

/** Added by chance to a pause that is asked for, at most, so that not every host of a cluster comes back at the same moment. Milliseconds. */
export const SPREAD_MAX_MS = 1000;

/** `half-open`: one may try whether it works again. */
export type BreakerState = "closed" | "open" | "half-open";

export type Admission =
  | { readonly kind: "go" }
  /** Not before then. */
  | { readonly kind: "hold"; readonly untilMs: number; readonly isAskedFor: boolean }
  /** Somebody tries; not before an answer has come, or none. */
  | { readonly kind: "await" };

/** One request that a breaker has let through. Plain data. */
export interface Passage {
  /** How many failures had been counted when it began. */
  readonly era: number;
  /** It is the one that tries whether things work again. */
  readonly isTrial: boolean;
}

/**
 * Decides when something that fails is asked again, for all who want to: a state machine without clock or I/O.
 *
 * Each failure holds everybody back, twice as long as the one before and up to half of that less by chance; then one may try, and the others
 * wait until it has got an answer. Failures of requests that were under way when another failed are of the same moment, and count once.
 * A success ends it all, but for a pause that was asked for.
 */
export class Breaker {
  readonly #policy: BreakerPolicy;
  #failureCount = 0;
  /** Counts failures, and is never set back. */
  #era = 0;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  #isAskedFor = false;
  #trial: Passage | undefined;
  /** Somebody has had an answer since the last failure, though nothing is known to have come to a good end. */
  #isAnswered = true;

  constructor(policy: BreakerPolicy = DEFAULT_BREAKER_POLICY) {
    this.#policy = policy;
  }

  /** In a row, without a success in between; those of one moment count once. */
  get failureCount(): number {
    return this.#failureCount;
  }

  /** Nothing is remembered: it is as a new one. */
  isIdle(nowMs: number): boolean {
    return this.#failureCount === 0 && nowMs >= this.#heldUntilMs;
  }

  /** Whether it works as far as is known: single failures are no more than that. */
  get isClosed(): boolean {
    return this.#failureCount < this.#policy.openAfter;
  }

  state(nowMs: number): BreakerState {
    if (nowMs < this.#heldUntilMs) return this.isClosed && !this.#isAskedFor ? "closed" : "open";
    return this.isClosed ? "closed" : "half-open";
  }

  /** Changes nothing. */
  ask(nowMs: number): Admission {
    if (nowMs < this.#heldUntilMs)
      return { kind: "hold", untilMs: this.#heldUntilMs, isAskedFor: this.#isAskedFor };
    return this.#trial === undefined ? { kind: "go" } : { kind: "await" };
  }

  /** Of one that `ask` lets go. Each passage comes to one of the ends below. */
  begin(): Passage {
    const passage = { era: this.#era, isTrial: !this.#isAnswered };
    if (passage.isTrial) this.#trial = passage;
    return passage;
  }

  /** There is an answer, but what it is worth is not known yet. Not an end: one of the others follows. */
  answered(passage: Passage): void {
    if (passage.era < this.#era) return;
    this.#isAnswered = true;
    this.#endTrial(passage);
  }

  succeeded(_passage: Passage): void {
    this.#failureCount = 0;
    this.#isAnswered = true;
    this.#trial = undefined;
    if (!this.#isAskedFor) this.#heldUntilMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * @param at.random from 0 up to 1
   * @param at.askedForMs what was asked for as a pause
   */
  failed(
    passage: Passage,
    at: {
      readonly nowMs: number;
      readonly random: number;
      readonly askedForMs?: number | undefined;
    },
  ): void {
    const { nowMs, random, askedForMs } = at;
    this.#endTrial(passage);
    let untilMs = Number.NEGATIVE_INFINITY;
    if (passage.era === this.#era) {
      const { firstHoldMs, holdMaxMs } = this.#policy;
      const holdMs = Math.min(firstHoldMs * 2 ** this.#failureCount, holdMaxMs);
      untilMs = nowMs + holdMs * (1 - random / 2);
      this.#failureCount += 1;
      this.#era += 1;
      this.#isAnswered = false;
    }
    const askedUntilMs =
      askedForMs === undefined
        ? Number.NEGATIVE_INFINITY
        : nowMs + askedForMs + random * Math.min(SPREAD_MAX_MS, askedForMs / 10);
    if (Math.max(untilMs, askedUntilMs) <= this.#heldUntilMs) return;
    this.#isAskedFor = askedForMs !== undefined;
    this.#heldUntilMs = Math.max(untilMs, askedUntilMs);
  }

  /** Whoever asked has gone, and nothing is known. */
  left(passage: Passage): void {
    this.#endTrial(passage);
  }

  #endTrial(passage: Passage): void {
    if (this.#trial === passage) this.#trial = undefined;
  }
}
