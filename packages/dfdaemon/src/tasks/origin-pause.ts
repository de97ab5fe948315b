import { reasonIn } from "../origins/origin-error.ts";
import type { OriginWait } from "../origins/origin.ts";
import type { Wait } from "./wait.ts";

/** What an origin says of itself may be of any length. Characters. */
const REASON_LENGTH_MAX = 300;
/** Shorter ones are nobody's concern. Milliseconds. */
const PAUSE_MIN_MS = 1000;

/** An origin is left alone: the eight parts of a file that wait for one thing are one wait. */
export class OriginPause {
  #wait: (Wait & { readonly untilMs: number }) | undefined;

  /** One more waits for it. That it says nothing is no pause: then it has been asked. */
  add({ kind, waitMs, reason }: OriginWait, nowMs: number): void {
    if (kind === "silent" || waitMs < PAUSE_MIN_MS) return;
    const why = reasonIn(reason).slice(0, REASON_LENGTH_MAX);
    const how =
      kind === "asked" ? "left alone, as it asked" : "left alone before it is asked again";
    const description = `the origin has been ${how} (${why})`;
    const untilMs = nowMs + waitMs;
    const present = this.at(nowMs);
    const isSame = present?.description === description;
    this.#wait = {
      reason: "origin-retry",
      description,
      sinceMs: isSame ? present.sinceMs : nowMs,
      // Whoever comes first ends the wait of all.
      untilMs: isSame ? Math.min(present.untilMs, untilMs) : untilMs,
    };
  }

  /** Undefined: it is not left alone at this moment. */
  at(nowMs: number): (Wait & { readonly untilMs: number }) | undefined {
    return this.#wait !== undefined && this.#wait.untilMs > nowMs ? this.#wait : undefined;
  }
}
