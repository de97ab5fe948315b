/** What a download waits for while nothing moves. The names are shown, logged and sent to whoever asked: they stay what they are. */
export type WaitReason =
  /** The origin has not said what the file is. */
  | "origin-facts"
  /** The origin, or its limits, ask for patience: Retry-After, or the pause before another try. */
  | "origin-retry"
  /** The origin has been asked for content, and sends none. */
  | "origin"
  /** An earlier download of the task has to end first. */
  | "former"
  /** The scheduler has been asked, and has not answered: it may mean us to wait for our turn at the origin. */
  | "scheduler"
  /** It does not answer any more; or is not there. */
  | "scheduler-lost"
  /** It has answered that it knows nobody of use, and is asked again soon. */
  | "scheduler-pause"
  /** Parents have been named, and have not said what they have. */
  | "parents"
  /** Parents have nothing of what is missing. */
  | "pieces"
  /** Those that have it are busy, or rest because they have failed. */
  | "rest"
  /** Pieces have been asked for, and are not announced. */
  | "announcement"
  /** Pieces have been announced, and do not come. */
  | "content"
  /** Pieces have been taken up, and there is no room in memory for them: others that are in flight have it. */
  | "memory"
  /** What has come is not taken by the disk. */
  | "disk"
  /** No process is there that moves content. */
  | "data-plane"
  /** Everything is there, and its digest is computed, or it is put where it was asked for. */
  | "output";

export interface Wait {
  readonly reason: WaitReason;
  /** In words that "for 12 s" can follow: `the scheduler has not answered`. */
  readonly description: string;
  /** When it began. Milliseconds, on the clock of whoever tells it. */
  readonly sinceMs: number;
  /** When something else is done about it, at the latest; undefined: that is not known, or up to others. */
  readonly untilMs: number | undefined;
}

/** `the scheduler has not answered for 12 s (until 43 s)`. */
export function formatWait({ description, sinceMs, untilMs }: Wait, nowMs: number): string {
  const seconds = (ms: number): number => Math.round(ms / 1000);
  const until = untilMs === undefined ? "" : ` (until ${seconds(untilMs - sinceMs)} s)`;
  return `${description} for ${seconds(nowMs - sinceMs)} s${until}`;
}
