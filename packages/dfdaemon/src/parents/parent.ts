import type { ParentAddress } from "@damselfly/transport";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";

/** Assumed of a parent nobody has measured yet, in bytes a millisecond: a good one, so that it gets its chance. */
const GOODPUT_UNKNOWN = 100_000;
/** Weight of the newest measurement. */
const GOODPUT_WEIGHT = 0.3;

/** What one download knows of one parent: its address, what it moves, what runs. */
export class Parent {
  readonly candidate: CandidateParent;
  readonly #now: () => number;
  address: ParentAddress | undefined;
  /** Pieces in flight from it. */
  inFlight = 0;
  /** Failures since the last success. */
  strikes = 0;
  /** The last of all failures. */
  failure: Error | undefined;
  /** It is still telling what it has. */
  listening = false;
  /** What it was asked for. */
  asked: ReadonlySet<number> = new Set();
  bytes = 0;
  pieceCount = 0;
  #goodput: number | undefined;
  #pausedUntilMs = 0;
  #pauseCount = 0;

  constructor(candidate: CandidateParent, now: () => number) {
    this.candidate = candidate;
    this.#now = now;
  }

  /**
   * How dear the next piece from this parent is, in arbitrary units: its queue over its rate. `undefined` when it should get none now.
   */
  cost(options: {
    readonly inFlightMax: number;
    readonly random: () => number;
  }): number | undefined {
    if (this.address === undefined || this.inFlight >= options.inFlightMax) return undefined;
    if (this.#pausedUntilMs > this.#now()) return undefined;
    // A little noise keeps equals from being taken in the order they came.
    return (
      ((this.inFlight + 1) / (this.#goodput ?? GOODPUT_UNKNOWN)) * (0.9 + 0.2 * options.random())
    );
  }

  /** A piece came. Pieces that ran beside it shared the path, so its rate counts as many times. */
  measured(piece: {
    readonly length: number;
    readonly durationMs: number;
    readonly concurrency: number;
  }): void {
    const rate = (piece.length * piece.concurrency) / Math.max(piece.durationMs, 1);
    this.#goodput =
      this.#goodput === undefined ? rate : this.#goodput + GOODPUT_WEIGHT * (rate - this.#goodput);
    this.strikes = 0;
    this.#pauseCount = 0;
    this.bytes += piece.length;
    this.pieceCount += 1;
  }

  /** It is busy: nothing is asked of it for a while. Returns how long, in milliseconds. */
  pause(): number {
    this.#pauseCount += 1;
    const pauseMs = Math.min(100 * 2 ** this.#pauseCount, 5_000);
    this.#pausedUntilMs = this.#now() + pauseMs;
    return pauseMs;
  }
}
