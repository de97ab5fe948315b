import { type Clock, SYSTEM_CLOCK } from "./clock.ts";

/** So much may go at once after a pause, in seconds of the rate: what follows is smooth on the scale of what anybody notices. */
const BURST_SECONDS = 0.1;

/** Nobody is let go with less, unless there is less: shares of a small rate among many would cost more than they carry. Bytes. */
const SHARE_LENGTH_MIN = 1024;

/** One that is alone goes in steps of a fortieth of a second. */
const SHARE_COUNT_MIN = 4;

interface Waiter {
  readonly lengthMax: number;
  readonly grant: (length: number) => void;
}

/**
 * Holds what goes through it to a rate, over all that share it. Everybody gets about the same: whoever waits is let go in the order they
 * came, with a share of a tenth of a second's worth at a time, and comes back for more behind the others.
 */
export class RateLimit {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  /** Bytes that may go at this moment, as of `#filledAt`. */
  #length: number;
  #filledAt: number;
  readonly #waiters = new Set<Waiter>();
  #stopTimer: (() => void) | undefined;
  #movedLength = 0;

  /** @param bytesPerSecond above 0; Infinity: no limit */
  constructor(bytesPerSecond: number, clock: Clock = SYSTEM_CLOCK) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#length = this.#burstLength;
    this.#filledAt = clock.now();
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** Bytes that have been let go so far. */
  get movedLength(): number {
    return this.#movedLength;
  }

  /** Those who wait for their turn. */
  get waitingCount(): number {
    return this.#waiters.size;
  }

  /** From now on. Who waits goes on at the new rate. */
  setRate(bytesPerSecond: number): void {
    this.#fill();
    this.#bytesPerSecond = bytesPerSecond;
    this.#length = Math.min(this.#length, this.#burstLength);
    this.#serve();
  }

  /**
   * How many of the next `lengthMax` bytes may go, one at least: at once where there is room, otherwise when it is their turn.
   *
   * @throws the signal's reason, when it aborts while it waits
   */
  take(lengthMax: number, signal?: AbortSignal): number | Promise<number> {
    if (this.#bytesPerSecond === Infinity) {
      this.#movedLength += lengthMax;
      return lengthMax;
    }
    if (this.#waiters.size === 0) {
      this.#fill();
      const length = Math.min(lengthMax, this.#shareLength);
      if (length <= this.#length) {
        this.#length -= length;
        this.#movedLength += length;
        return length;
      }
    }
    return this.#wait(lengthMax, signal);
  }

  get #burstLength(): number {
    return Math.max(SHARE_LENGTH_MIN, this.#bytesPerSecond * BURST_SECONDS);
  }

  /** What one of those who wait, or who would, gets at a time. */
  get #shareLength(): number {
    const share = this.#burstLength / Math.max(SHARE_COUNT_MIN, this.#waiters.size);
    return Math.floor(Math.max(SHARE_LENGTH_MIN, share));
  }

  #fill(): void {
    const now = this.#clock.now();
    const gained = ((now - this.#filledAt) / 1000) * this.#bytesPerSecond;
    this.#length = Math.min(this.#burstLength, this.#length + gained);
    this.#filledAt = now;
  }

  async #wait(lengthMax: number, signal: AbortSignal | undefined): Promise<number> {
    signal?.throwIfAborted();
    return await new Promise<number>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        this.#serve(); // what it would have had is others' now
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        lengthMax,
        grant: (length) => {
          signal?.removeEventListener("abort", onAbort);
          resolve(length);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
      this.#serve();
    });
  }

  /** Lets go whoever may go, and sees to the next one in time. */
  #serve(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.#fill();
    const share = this.#shareLength; // of all who wait now, whoever is let go
    for (const waiter of this.#waiters) {
      const length = Math.min(waiter.lengthMax, share);
      if (this.#bytesPerSecond !== Infinity) {
        if (length > this.#length) {
          const ms = ((length - this.#length) / this.#bytesPerSecond) * 1000;
          this.#stopTimer = this.#clock.after(Math.ceil(ms), () => this.#serve());
          return;
        }
        this.#length -= length;
      }
      this.#waiters.delete(waiter);
      const granted = this.#bytesPerSecond === Infinity ? waiter.lengthMax : length;
      this.#movedLength += granted;
      waiter.grant(granted);
    }
  }
}
