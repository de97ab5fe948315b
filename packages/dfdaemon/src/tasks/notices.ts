import { formatWait } from "../origins/format-wait.ts";
import type { OriginWait } from "../origins/origin.ts";

/** What a download waits for, in words. */
export interface Notice {
  readonly kind: "waiting";
  /** A sentence without a full stop. */
  readonly text: string;
  /** Milliseconds; 0: nobody knows. */
  readonly waitMs: number;
}

/** Shorter waits are nobody's concern. Milliseconds. */
const WAIT_MIN_MS = 1000;
/** Held for a reader that reads nothing. */
const HELD_MAX = 16;

/** Notices on their way to one reader. The eight parts of a file that wait for one thing are one notice. */
export class Notices {
  readonly #now: () => number;
  readonly #held: Notice[] = [];
  #last: { readonly text: string; readonly untilMs: number } | undefined;
  #wake: () => void = () => {};

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  add(wait: OriginWait): void {
    const { kind, waitMs } = wait;
    if (kind !== "silent" && waitMs < WAIT_MIN_MS) return;
    const text = formatWait(wait);
    const nowMs = this.#now();
    if (this.#last?.text === text && nowMs < this.#last.untilMs) return;
    this.#last = { text, untilMs: nowMs + Math.max(waitMs, WAIT_MIN_MS) };
    if (this.#held.length === HELD_MAX) this.#held.shift();
    this.#held.push({ kind: "waiting", text, waitMs: Math.round(waitMs) });
    this.#wake();
  }

  take(): Notice | undefined {
    return this.#held.shift();
  }

  /** Resolves once there is one. */
  async arrival(): Promise<void> {
    if (this.#held.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}

/**
 * The events, and between them the notices, also while an event is waited for.
 *
 * @param onLeave called when the reader leaves: has to make whatever `events` waits for end
 */
export async function* withNotices<Event>(
  events: AsyncGenerator<Event, void, undefined>,
  notices: Notices,
  onLeave: () => void,
): AsyncGenerator<Event | Notice, void, undefined> {
  let isOver = false;
  let next: Promise<IteratorResult<Event, void>> | undefined;
  const failed = (): void => {
    isOver = true;
  };
  try {
    for (;;) {
      next ??= events.next();
      next.catch(failed);
      const first = await Promise.race([next, notices.arrival()]);
      const notice = notices.take();
      if (notice !== undefined) yield notice;
      if (first === undefined) continue;
      next = undefined;
      if (first.done === true) {
        isOver = true;
        return;
      }
      yield first.value;
    }
  } finally {
    if (!isOver) onLeave();
    await next?.catch(() => {});
    await events.return();
  }
}
