import type { OriginWait } from "../origins/origin.ts";
import { steadyNow } from "../steady-now.ts";
import type { Flight } from "./flight.ts";
import { MOVING_MS } from "./flight-wait.ts";
import { OriginPause } from "./origin-pause.ts";
import type { PreparationWatch } from "./task-preparer.ts";
import type { ToldPieces } from "./told-pieces.ts";
import type { Wait, WaitReason } from "./wait.ts";

/** What a caller goes through, apart from the flight. */
type Stage = Extract<WaitReason, "origin-facts" | "former" | "output">;

const WORDS: Readonly<Record<Stage, string>> = {
  "origin-facts": "the origin has not said what the file is",
  former: "the download before this one has not ended",
  output: "the file has been checked and put in its place",
};

/** One caller's download: knows at each moment what it waits for. */
export class DownloadCall implements PreparationWatch {
  readonly startedMs: number;
  /** What the caller has got; absent: he begins anew whenever the download does. */
  readonly told: ToldPieces | undefined;
  readonly #now: () => number;
  #stage: { readonly name: Stage; readonly sinceMs: number } | undefined;
  #movedMs: number;
  #pause = new OriginPause();
  #flight: Flight | undefined;

  /** @param now milliseconds; the flights' clock */
  constructor(now: () => number = steadyNow, told?: ToldPieces) {
    this.#now = now;
    this.told = told;
    this.startedMs = now();
    this.#movedMs = this.startedMs;
  }

  /** From now on it is at this. */
  enter(name: Stage): void {
    this.#flight = undefined;
    this.#pause = new OriginPause();
    this.#stage = { name, sinceMs: this.#now() };
  }

  /** From now on it waits for what that flight waits for. */
  board(flight: Flight): void {
    this.#stage = undefined;
    this.#flight = flight;
  }

  /** The origin is left alone for a while. */
  waits(wait: OriginWait): void {
    this.#pause.add(wait, this.#now());
  }

  /** Bytes have come. */
  moved(): void {
    this.#movedMs = this.#now();
  }

  /** Undefined: something moves, or has not stood still for long. */
  wait(): Wait | undefined {
    if (this.#flight !== undefined) return this.#flight.wait();
    const nowMs = this.#now();
    const pause = this.#pause.at(nowMs);
    if (pause !== undefined) return pause;
    if (this.#stage === undefined) return undefined;
    const { name } = this.#stage;
    const sinceMs = Math.max(this.#stage.sinceMs, this.#movedMs);
    if (nowMs - sinceMs < MOVING_MS) return undefined;
    return { reason: name, description: WORDS[name], sinceMs, untilMs: undefined };
  }
}
