/** Ends older than this are forgotten. Milliseconds. */
const MEMORY_MS = 10 * 60_000;
/** Of the pauses before a restart, after the second in a row. Doubled each time. Milliseconds. */
const FIRST_PAUSE_MS = 250;
const PAUSE_MAX_MS = 15_000;
/** So many ends in `MEMORY_MS`, and QUIC is left out: its libraries are the only native code that moves content. */
const QUIC_END_COUNT = 3;

export interface Restart {
  readonly pauseMs: number;
  /** From now on, until the daemon is started anew. */
  readonly withoutQuic: boolean;
  /** Ends in the last ten minutes, this one included. */
  readonly endCount: number;
}

/** When a process that ended is started again, and with what. */
export class RestartPolicy {
  #endsMs: number[] = [];
  #withoutQuic = false;

  get withoutQuic(): boolean {
    return this.#withoutQuic;
  }

  /** The first two restarts in a while are immediate: nobody is to wait longer than it takes. */
  ended(nowMs: number): Restart {
    this.#endsMs = [...this.#endsMs.filter((atMs) => nowMs - atMs < MEMORY_MS), nowMs];
    const endCount = this.#endsMs.length;
    if (endCount >= QUIC_END_COUNT) this.#withoutQuic = true;
    const pauseMs =
      endCount <= 2 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (endCount - 3), PAUSE_MAX_MS);
    return { pauseMs, withoutQuic: this.#withoutQuic, endCount };
  }
}
