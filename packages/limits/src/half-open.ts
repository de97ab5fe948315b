/** Something that can be cut off. */
export interface Destroyable {
  destroy(): unknown;
}

export interface HalfOpenOptions {
  /** Held at once; one more pushes out the one that came first. */
  readonly countMax: number;
  /** How long one may stay. Milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Those who have begun and not said enough yet. Neither many of them nor slow ones keep others out: one too many pushes out the
 * oldest, which has had the most time, and time pushes out everybody.
 */
export class HalfOpen<Connection extends Destroyable> {
  readonly #options: HalfOpenOptions;
  /** In the order they came. */
  readonly #timers = new Map<Connection, NodeJS.Timeout>();
  #expelledCount = 0;

  constructor(options: HalfOpenOptions) {
    this.#options = options;
  }

  /** Held at this moment. */
  get count(): number {
    return this.#timers.size;
  }

  /** Destroyed so far, for want of time or of room. */
  get expelledCount(): number {
    return this.#expelledCount;
  }

  /** Takes one in. It stays until `leave`; whoever gives it in sees to that when it closes. */
  enter(connection: Connection): void {
    const { countMax, timeoutMs } = this.#options;
    const [oldest] = this.#timers.keys();
    if (oldest !== undefined && this.#timers.size >= countMax) this.#expel(oldest);
    const timer = setTimeout(() => this.#expel(connection), timeoutMs);
    timer.unref();
    this.#timers.set(connection, timer);
  }

  /** It has said enough, or is gone. Idempotent. */
  leave(connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    this.#timers.delete(connection);
  }

  #expel(connection: Connection): void {
    this.leave(connection);
    this.#expelledCount += 1;
    connection.destroy();
  }
}
