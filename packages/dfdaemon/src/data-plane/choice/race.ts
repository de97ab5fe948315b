/** One who may win, and how long the one before it runs alone. */
export interface Entrant<Name> {
  readonly name: Name;
  /** After the start of the one before it, in milliseconds; at once when all that run have failed. */
  readonly afterMs: number;
}

export interface RaceInit<Name, Prize> {
  /** In the order of their starts; at least one. */
  readonly entrants: readonly Entrant<Name>[];
  /** Ends when its signal aborts. */
  readonly run: (name: Name, signal: AbortSignal) => Promise<Prize>;
  /** Frees what one brings that has lost already. */
  readonly discard: (prize: Prize) => PromiseLike<void>;
  /** One has failed. True: another may do; false: the failure is everybody's. */
  readonly failed: (name: Name, error: unknown) => boolean;
  /** Asked when the turn of one has come: how much longer it is to wait, once, in milliseconds; default not at all. */
  readonly holdMs?: (name: Name) => number;
  /**
   * How long the prize of one is held back in case that another one, which runs already, brings its own: milliseconds,
   * default none. What is held back and not taken is discarded.
   */
  readonly patienceMs?: (name: Name) => number;
  readonly signal: AbortSignal;
}

export interface RaceOutcome<Name, Prize> {
  readonly winner: Name;
  /** The signal that it was run with will not abort any more. */
  readonly prize: Prize;
  /** Those that ran and had neither won nor failed. */
  readonly losers: readonly Name[];
}

/** The reason that losers end with. */
export class RaceLost extends Error {
  override readonly name = "RaceLost";
}

/**
 * Starts one after the other until one brings its prize; the others are told to end (as RFC 8305 does with addresses).
 *
 * @throws the failure that was everybody's; the last one when all have failed; the signal's reason
 */
export function race<Name, Prize>(init: RaceInit<Name, Prize>): Promise<RaceOutcome<Name, Prize>> {
  return new Promise((resolve, reject) => new Race(init, { resolve, reject }).start());
}

interface Settle<Outcome> {
  resolve(outcome: Outcome): void;
  reject(reason: unknown): void;
}

class Race<Name, Prize> {
  readonly #init: RaceInit<Name, Prize>;
  readonly #settle: Settle<RaceOutcome<Name, Prize>>;
  readonly #running = new Map<Name, AbortController>();
  #started = 0;
  #timer: NodeJS.Timeout | undefined;
  #held: { readonly name: Name; readonly prize: Prize; readonly timer: NodeJS.Timeout } | undefined;
  #isOver = false;

  constructor(init: RaceInit<Name, Prize>, settle: Settle<RaceOutcome<Name, Prize>>) {
    this.#init = init;
    this.#settle = settle;
  }

  start(): void {
    const { signal } = this.#init;
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    else this.#startNext();
  }

  #startNext(): void {
    clearTimeout(this.#timer);
    const entrant = this.#init.entrants[this.#started];
    if (entrant === undefined || this.#held !== undefined) return;
    this.#started += 1;
    const next = this.#init.entrants[this.#started];
    if (next !== undefined) this.#timer = setTimeout(() => this.#turnOf(next.name), next.afterMs);
    void this.#run(entrant.name);
  }

  /** Decided when what has arrived meanwhile has been read: after a busy moment, timers come before it. */
  #turnOf(name: Name): void {
    const startedCount = this.#started;
    setImmediate(() => {
      if (this.#isOver || this.#started !== startedCount) return;
      const holdMs = this.#init.holdMs?.(name) ?? 0;
      if (holdMs === 0) this.#startNext();
      else this.#timer = setTimeout(() => this.#startNext(), holdMs);
    });
  }

  async #run(name: Name): Promise<void> {
    const controller = new AbortController();
    this.#running.set(name, controller);
    try {
      const prize = await this.#init.run(name, controller.signal);
      if (this.#isOver) await this.#discard(prize);
      else this.#arrived(name, prize);
    } catch (error) {
      if (!this.#isOver) this.#failed(name, error); // afterwards nobody waits for it
    }
  }

  async #discard(prize: Prize): Promise<void> {
    try {
      await this.#init.discard(prize);
    } catch {
      // It was nobody's any more.
    }
  }

  #arrived(name: Name, prize: Prize): void {
    this.#running.delete(name);
    const patienceMs = this.#init.patienceMs?.(name) ?? 0;
    if (this.#held !== undefined || patienceMs === 0 || this.#running.size === 0) {
      this.#won(name, prize);
      return;
    }
    const timer = setTimeout(() => this.#takeHeld(), patienceMs);
    this.#held = { name, prize, timer };
  }

  #takeHeld(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#won(held.name, held.prize);
  }

  #won(winner: Name, prize: Prize): void {
    const losers = [...this.#running.keys()];
    this.#end(losers.length === 0 ? undefined : new RaceLost("another was faster"));
    this.#settle.resolve({ winner, prize, losers });
  }

  #failed(name: Name, error: unknown): void {
    this.#running.delete(name);
    if (this.#init.failed(name, error)) {
      if (this.#running.size > 0) return;
      if (this.#held !== undefined) {
        this.#takeHeld();
        return;
      }
      if (this.#started < this.#init.entrants.length) {
        this.#startNext();
        return;
      }
    }
    this.#end(error);
    this.#settle.reject(error);
  }

  readonly #onAbort = (): void => {
    const { reason } = this.#init.signal;
    this.#end(reason);
    this.#settle.reject(reason);
  };

  #end(reason: unknown): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#init.signal.removeEventListener("abort", this.#onAbort);
    for (const controller of this.#running.values()) controller.abort(reason);
    if (this.#held === undefined) return;
    clearTimeout(this.#held.timer);
    void this.#discard(this.#held.prize);
  }
}
