import type { Protocol } from "@damselfly/transport";
import { jitter } from "../../jitter.ts";

/** Weight of the newest measurement. */
const GOODPUT_WEIGHT = 0.3;
/** What the best rate loses with each piece: a path that was faster an hour ago is no measure for ever. */
const BEST_DECAY = 0.99;
/** After a failure, on average, doubled with each that follows, in milliseconds. */
const DETOUR_MS = 60_000;
const DETOUR_MS_MAX = 3_600_000;

/** A piece that came over one protocol, or as much of it as did. */
export interface Sample {
  /** Bytes. */
  readonly length: number;
  /** From the announcement to the last of them, in milliseconds. */
  readonly durationMs: number;
  /** Pieces that were in flight from the parent, this one included: they shared the path. */
  readonly concurrency: number;
}

/** What is known of one protocol to one parent. */
export class ProtocolRecord {
  readonly protocol: Protocol;
  readonly #now: () => number;
  readonly #random: () => number;
  /** It has brought an announcement since it last failed. */
  isProven = false;
  sampleCount = 0;
  pieceCount = 0;
  byteCount = 0;
  failureCount = 0;
  /** In words; empty: it has not failed. */
  lastFailure = "";
  /** Bytes a millisecond, all pieces in flight from the parent together; undefined: not measured. */
  #goodput: number | undefined;
  #best = 0;
  #detouredUntil = -Infinity;
  #failuresInARow = 0;

  constructor(
    protocol: Protocol,
    options: { readonly now: () => number; readonly random: () => number },
  ) {
    this.protocol = protocol;
    this.#now = options.now;
    this.#random = options.random;
  }

  get goodput(): number | undefined {
    return this.#goodput;
  }

  /** The most it gave of late, in bytes a millisecond. */
  get best(): number {
    return this.#best;
  }

  /** It did not get through, and is left alone for a while. */
  get isDetoured(): boolean {
    return this.#detouredUntil > this.#now();
  }

  announced(): void {
    this.isProven = true;
    this.#failuresInARow = 0;
    this.#detouredUntil = -Infinity;
  }

  /** Returns for how long it is left out, in milliseconds. */
  failed(why: string): number {
    this.isProven = false;
    this.failureCount += 1;
    this.lastFailure = why;
    // Several pieces fail at once, for one reason.
    if (this.isDetoured) return this.#detouredUntil - this.#now();
    const meanMs = Math.min(DETOUR_MS * 2 ** this.#failuresInARow, DETOUR_MS_MAX);
    // A parent that was away is not to be asked by all its children at the same moment.
    const detourMs = jitter(meanMs, this.#random);
    this.#failuresInARow += 1;
    this.#detouredUntil = this.#now() + detourMs;
    return detourMs;
  }

  /** The parent is another one now, or elsewhere: old failures say nothing. */
  forgive(): void {
    this.#failuresInARow = 0;
    this.#detouredUntil = -Infinity;
  }

  measured({ length, durationMs, concurrency }: Sample): void {
    const rate = (length * concurrency) / Math.max(durationMs, 1);
    const before = this.#goodput ?? rate;
    this.#goodput = before + GOODPUT_WEIGHT * (rate - before);
    this.#best = Math.max(this.#best * BEST_DECAY, this.#goodput);
    this.sampleCount += 1;
  }
}
