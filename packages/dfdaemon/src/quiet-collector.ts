import { performance, type EventLoopUtilization } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { loadTrim } from "./load-trim.ts";

/** How often this process is looked at. Milliseconds. */
const LOOK_MS = 5_000;
/** It is quiet while its event loop has something to do for less than this part of the time. */
const QUIET = 0.05;
/** So many looks in a row. What is kept for a moment's reuse has been given up by then. */
const QUIET_LOOKS = 3;
/** And once more after so many: connections to other nodes are closed a minute after their last use, and leave what they took. */
const LATE_LOOKS = 14;
/** What has been left behind by less work than this is not worth the pause. Milliseconds. */
const WORK_MS_MIN = 500;

/**
 * Gives memory back once this process has become quiet after work: V8 collects when memory is allocated, and the C library keeps what is
 * freed, so a process with nothing to do would hold what its last busy moment took for as long as there is no other, on a node that is
 * there for other programs. Garbage is collected first, and at the next look, when what that freed has been freed, the C library is asked.
 * Each takes some 40 ms, at a moment when nobody waits. Where it stays quiet all that is done once more, when connections have been closed.
 */
export class QuietCollector implements Disposable {
  readonly #collect: () => void;
  readonly #trim: () => void;
  readonly #look: () => EventLoopUtilization;
  readonly #timer: NodeJS.Timeout;
  #last: EventLoopUtilization;
  #workMs = 0;
  #quietLooks = 0;
  #hasFreed = false;
  #isLateDue = false;

  /** @param options for tests */
  constructor(
    options: {
      readonly collect?: () => void;
      readonly trim?: () => void;
      readonly look?: () => EventLoopUtilization;
    } = {},
  ) {
    this.#collect = options.collect ?? onFirstCall(loadCollect);
    this.#trim = options.trim ?? onFirstCall(loadTrim);
    this.#look = options.look ?? (() => performance.eventLoopUtilization());
    this.#last = this.#look();
    this.#timer = setInterval(() => this.#onTick(), LOOK_MS).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #onTick(): void {
    const now = this.#look();
    const activeMs = now.active - this.#last.active;
    const passedMs = activeMs + now.idle - this.#last.idle;
    this.#last = now;
    this.#workMs += activeMs;
    this.#quietLooks = activeMs < QUIET * passedMs ? this.#quietLooks + 1 : 0;
    if (this.#quietLooks < QUIET_LOOKS) return;
    if (this.#hasFreed) {
      this.#hasFreed = false;
      this.#trim();
      return;
    }
    const isDue = this.#workMs >= WORK_MS_MIN;
    if (isDue || (this.#isLateDue && this.#quietLooks >= LATE_LOOKS)) {
      this.#isLateDue = isDue;
      this.#workMs = 0;
      this.#hasFreed = true;
      // The first frees, the second gives the pages of V8's heap back that are empty by then.
      for (let count = 0; count < 2; count += 1) this.#collect();
    }
  }
}

/** What `load` makes, made when it is needed. Without it memory stays where it is, for the next busy moment: no reason to end. */
function onFirstCall(load: () => (() => void) | undefined): () => void {
  let loaded: (() => void) | undefined;
  return () => (loaded ??= load() ?? (() => {}))();
}

/** V8's own, which no flag at the start has to ask for. */
function loadCollect(): (() => void) | undefined {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("globalThis.gc");
  return typeof collect === "function"
    ? () => void Reflect.apply(collect, undefined, [])
    : undefined;
}
