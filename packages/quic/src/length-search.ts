import { PACKET_LENGTH_MIN } from "./endpoint-options.ts";
import type { LengthPlan } from "./length-plan.ts";
import { PROBE_OVERHEAD_MAX, PROBE_OVERHEAD_MIN } from "./length-probe.ts";

/** How much shorter a probe can be than the length that it is sent for. */
const PROBE_SLACK = PROBE_OVERHEAD_MAX - PROBE_OVERHEAD_MIN;
/** Probes of one length that may go unanswered, as any packet can get lost. */
const TRY_COUNT = 2;
/** A length that the path did not take is tried again after this: routes change (RFC 8899, section 5.1.1). */
const RAISE_MS = 600_000;
/** The same below what the path was thought to take at first: an outage passes, and looked like a narrow path. */
const RECOVER_MS = [1_000, 10_000, 100_000, RAISE_MS] as const;

/**
 * Finds the longest packets that a path takes, upwards by probes, and down to QUIC's minimum when it turns out to
 * take less (RFC 8899). A state machine that does no I/O: it is told what happened and when, in milliseconds.
 */
export class LengthSearch {
  readonly #plan: LengthPlan;
  /** Ascending. */
  readonly #candidates: readonly number[];
  #length: number;
  /** Being tried; 0: none. */
  #tried = 0;
  #tryCount = 0;
  /** When the probe that is on its way counts as lost. */
  #lostAt = Number.POSITIVE_INFINITY;
  #nextAt = Number.NEGATIVE_INFINITY;
  #setbackCount = 0;

  constructor(plan: LengthPlan) {
    this.#plan = plan;
    this.#length = plan.start;
    this.#candidates = [...new Set([plan.start, ...plan.steps])];
  }

  /** Of packets that carry data. */
  get length(): number {
    return this.#length;
  }

  /** The length to probe for now; 0 if there is nothing to do but wait. Ask again after a while. */
  probeLength(now: number): number {
    if (this.#tried !== 0) {
      if (now < this.#lostAt) return this.#lostAt === Number.POSITIVE_INFINITY ? this.#tried : 0;
      this.#lostAt = Number.POSITIVE_INFINITY;
      this.#tryCount++;
      if (this.#tryCount < TRY_COUNT) return this.#tried;
      this.#giveUp(now);
    }
    if (now < this.#nextAt) return 0;
    this.#tried = this.#candidates.find((candidate) => candidate > this.#length + PROBE_SLACK) ?? 0;
    this.#tryCount = 0;
    this.#lostAt = Number.POSITIVE_INFINITY;
    return this.#tried;
  }

  onProbeSent(lostAt: number): void {
    this.#lostAt = lostAt;
  }

  /** The peer has seen a probe of this length. */
  onProven(length: number): void {
    if (length > this.#length) this.#length = Math.min(length, this.#plan.max);
    if (length + PROBE_SLACK >= this.#tried) this.#tried = 0;
  }

  /** The path, or the first interface of it, does not take packets of this length. */
  onTooLong(length: number, now: number): void {
    if (length <= PACKET_LENGTH_MIN) return;
    if (length <= this.#length) this.#drop(now);
    else if (this.#tried !== 0) this.#giveUp(now);
  }

  #drop(now: number): void {
    this.#length = PACKET_LENGTH_MIN;
    this.#giveUp(now);
  }

  #giveUp(now: number): void {
    this.#tried = 0;
    const isBelowStart = this.#length < this.#plan.start;
    const index = Math.min(this.#setbackCount, RECOVER_MS.length - 1);
    this.#nextAt = now + (isBelowStart ? (RECOVER_MS[index] ?? RAISE_MS) : RAISE_MS);
    if (isBelowStart) this.#setbackCount++;
  }
}
