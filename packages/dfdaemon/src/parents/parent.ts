import type { ParentAddress } from "@damselfly/transport";
import { jitter } from "../jitter.ts";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import type { ParentHost } from "./parent-host.ts";

/** Assumed of a parent nobody has measured yet, in bytes a millisecond: a good one, so that it gets its chance. */
const GOODPUT_UNKNOWN = 100_000;
/** Weight of the newest measurement. */
const GOODPUT_WEIGHT = 0.3;
/** One that gives so many times less than the fastest is slow. It gets one piece at a time: more would only be late together. */
const SLOW_FACTOR = 8;
/** A slow one gets none that would take it so many times as long as all the others take for the rest. */
const LATE_FACTOR = 2;
/** A parent that is busy, or silent, is left alone for so long, twice as long the next time, and so on. Milliseconds. */
const PAUSE_MS = 200;
const PAUSE_MS_MAX = 5_000;

/** What is to be known for choosing whom a piece is asked of. */
export interface CostTerms {
  /** Pieces in flight from one parent. */
  readonly inFlightMax: number;
  /** The most that any parent gives, as `goodput`. */
  readonly fastest?: number;
  /** What all parents together take for what is missing. Milliseconds. */
  readonly restMs?: number;
  /** Bytes. */
  readonly pieceLength?: number;
  /** Nobody else has it. */
  readonly isAlone?: boolean;
}

/** What one download knows of one parent: its address, what it moves, what runs. */
export class Parent {
  readonly candidate: CandidateParent;
  readonly host: ParentHost;
  readonly #now: () => number;
  readonly #random: () => number;
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
  /** A piece that it had a part in turned out wrong, and nobody knows who was: it brings whole pieces, or none. */
  isMixable = true;
  bytes = 0;
  pieceCount = 0;
  #goodput: number | undefined;
  #pausedUntilMs = -Infinity;
  #pauseCount = 0;
  #silenceCount = 0;
  #silentSinceMs = -Infinity;

  constructor(
    candidate: CandidateParent,
    options: {
      readonly host: ParentHost;
      readonly now: () => number;
      readonly random: () => number;
    },
  ) {
    this.candidate = candidate;
    this.host = options.host;
    this.#now = options.now;
    this.#random = options.random;
  }

  /** What it gives, all pieces in flight together, in bytes a millisecond; undefined: nobody has measured it. */
  get goodput(): number | undefined {
    return this.#goodput ?? this.host.goodput;
  }

  /** What one piece more would get, likewise. */
  get rateOfNext(): number | undefined {
    return this.goodput === undefined ? undefined : this.goodput / (this.inFlight + 1);
  }

  /** Until when nothing is asked of it; in the past: it may be asked. */
  get restsUntilMs(): number {
    return Math.max(this.#pausedUntilMs, this.host.restsUntilMs);
  }

  /**
   * How dear the next piece from this parent is, in arbitrary units: its queue over its rate. `undefined` when it should get none now.
   */
  cost(terms: CostTerms): number | undefined {
    if (this.address === undefined || this.inFlight >= terms.inFlightMax) return undefined;
    if (this.#pausedUntilMs > this.#now() || !this.host.mayBeAsked) return undefined;
    const { goodput } = this;
    if (goodput !== undefined && goodput * SLOW_FACTOR < (terms.fastest ?? 0)) {
      if (this.inFlight > 0) return undefined;
      const { pieceLength = 0, restMs = Infinity, isAlone = false } = terms;
      if (!isAlone && pieceLength / goodput > LATE_FACTOR * restMs) return undefined;
    }
    // A little noise keeps equals from being taken in the order they came.
    return ((this.inFlight + 1) / (goodput ?? GOODPUT_UNKNOWN)) * (0.9 + 0.2 * this.#random());
  }

  /** A piece came, or a part of one. Pieces that ran beside it shared the path, so its rate counts as many times. */
  measured(piece: {
    readonly length: number;
    readonly durationMs: number;
    readonly concurrency: number;
    /** It came to its end. */
    readonly isWhole: boolean;
  }): void {
    const rate = (piece.length * piece.concurrency) / Math.max(piece.durationMs, 1);
    this.#goodput =
      this.#goodput === undefined ? rate : this.#goodput + GOODPUT_WEIGHT * (rate - this.#goodput);
    this.bytes += piece.length;
    if (!piece.isWhole) {
      this.host.measured(rate);
      return;
    }
    this.host.brought(rate);
    this.strikes = 0;
    this.#pauseCount = 0;
    this.#silenceCount = 0;
    this.pieceCount += 1;
  }

  /** It is busy: nothing is asked of it for a while. Returns how long, in milliseconds. */
  pause(): number {
    this.#pauseCount += 1;
    const pauseMs = Math.min(PAUSE_MS * 2 ** (this.#pauseCount - 1), PAUSE_MS_MAX);
    const jitteredMs = jitter(pauseMs, this.#random);
    this.#pausedUntilMs = this.#now() + jitteredMs;
    return jitteredMs;
  }

  /**
   * It does not announce a piece, or sends nothing of it: nothing more is asked of it for a while.
   *
   * @param askedMs when it was asked for that piece; those asked before it was first noticed are one silence
   * @returns how often it has fallen silent since it last brought a piece
   */
  fellSilent(askedMs: number): number {
    if (askedMs <= this.#silentSinceMs) return this.#silenceCount;
    this.#silentSinceMs = this.#now();
    this.#silenceCount += 1;
    this.host.failed("silent");
    this.pause();
    return this.#silenceCount;
  }
}
