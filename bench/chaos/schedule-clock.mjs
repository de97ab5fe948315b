// The time of a schedule: it passes as time does, and slower where the machine is too slow for what is to happen.
import { setTimeout as pause } from "node:timers/promises";

const TICK_MS = 25;
/** A tick that comes late is not made up for: while this process stood still, so did the schedule. Milliseconds. */
const STEP_MS_MAX = 200;

/** @param {{ stretch: () => number, signal: AbortSignal }} options - `stretch`: milliseconds for one of the schedule */
export class ScheduleClock {
  #nowMs = 0;
  #holdCount = 0;
  #stretch;
  #signal;

  constructor({ stretch, signal }) {
    this.#stretch = stretch;
    this.#signal = signal;
  }

  get nowMs() {
    return this.#nowMs;
  }

  /** Lets time pass until the signal aborts. */
  async run() {
    let last = performance.now();
    while (!this.#signal.aborted) {
      await pause(TICK_MS);
      const now = performance.now();
      if (this.#holdCount === 0) this.#nowMs += Math.min(now - last, STEP_MS_MAX) / this.#stretch();
      last = now;
    }
  }

  /** Resolves when it is `atMs`. @throws the signal's reason */
  async until(atMs) {
    while (this.#nowMs < atMs) {
      this.#signal.throwIfAborted();
      await pause(TICK_MS);
    }
    this.#signal.throwIfAborted();
  }

  /** No time passes until the promise has settled; with its result. */
  async hold(promise) {
    this.#holdCount += 1;
    try {
      return await promise;
    } finally {
      this.#holdCount -= 1;
    }
  }

  async pass(ms) {
    await this.until(this.#nowMs + ms);
  }
}
