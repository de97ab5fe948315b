import { RecentEnds } from "./recent-ends.ts";

/** Of the pauses before a restart, after the second in a row. Doubled each time. Milliseconds. */
const FIRST_PAUSE_MS = 250;
const PAUSE_MAX_MS = 15_000;

export interface Restart {
  readonly pauseMs: number;
  /** Ends in the last ten minutes, this one included. */
  readonly endCount: number;
}

/** When a process that ended is started again. */
export class RestartPolicy {
  readonly #ends = new RecentEnds();

  /** The first two restarts in a while are immediate: nobody is to wait longer than it takes. */
  ended(nowMs: number): Restart {
    const endCount = this.#ends.add(nowMs);
    const pauseMs =
      endCount <= 2 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (endCount - 3), PAUSE_MAX_MS);
    return { pauseMs, endCount };
  }
}
