import { type Clock, SYSTEM_CLOCK } from "./clock.ts";

/** Later than this it is looked at the time only by a process that was stopped, or busy, itself. Milliseconds. */
const LATE_MS = 250;

/** Something that can be cut off. */
export interface Destroyable {
  destroy(): unknown;
}

export interface HalfOpenOptions {
  /** Held at once; one more pushes out the one that came first. */
  readonly countMax: number;
  /** How long one may stay. Milliseconds. */
  readonly timeoutMs: number;
  readonly clock?: Clock;
}

/**
 * Those who have begun and not said enough yet. Neither many of them nor slow ones keep others out: one too many pushes out the
 * oldest, which has had the most time, and time pushes out everybody. Whoever's time ends while this process is stopped has it once more: what
 * was said meanwhile has not been heard yet. Not more often, so that being busy is no way to hold connections for ever.
 */
export class HalfOpen<Connection extends Destroyable> {
  readonly #options: HalfOpenOptions;
  /** What takes the end of each one's time back, in the order they came. */
  readonly #stops = new Map<Connection, () => void>();
  #expelledCount = 0;

  constructor(options: HalfOpenOptions) {
    this.#options = options;
  }

  /** Held at this moment. */
  get count(): number {
    return this.#stops.size;
  }

  /** Destroyed so far, for want of time or of room. */
  get expelledCount(): number {
    return this.#expelledCount;
  }

  /** Takes one in. It stays until `leave`; whoever gives it in sees to that when it closes. */
  enter(connection: Connection): void {
    const [oldest] = this.#stops.keys();
    if (oldest !== undefined && this.#stops.size >= this.#options.countMax) this.#expel(oldest);
    this.#giveTime(connection, { isAgain: false });
  }

  /** It has said enough, or is gone. Idempotent. */
  leave(connection: Connection): void {
    this.#stops.get(connection)?.();
    this.#stops.delete(connection);
  }

  #giveTime(connection: Connection, { isAgain }: { readonly isAgain: boolean }): void {
    const { timeoutMs, clock = SYSTEM_CLOCK } = this.#options;
    const dueMs = clock.now() + timeoutMs;
    const stop = clock.after(timeoutMs, () => {
      const isLate = clock.now() - dueMs > LATE_MS;
      if (isLate && !isAgain) this.#giveTime(connection, { isAgain: true });
      else this.#expel(connection);
    });
    this.#stops.set(connection, stop);
  }

  #expel(connection: Connection): void {
    this.leave(connection);
    this.#expelledCount += 1;
    connection.destroy();
  }
}
