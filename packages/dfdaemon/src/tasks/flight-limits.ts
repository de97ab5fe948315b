/** How long a download waits for whom, and how much it does at once. */
export interface FlightLimits {
  /** Pieces from parents at once. */
  readonly concurrentPieceCount: number;
  /** Pieces from the origin at once. */
  readonly backToSourceConcurrentPieceCount: number;
  /** A scheduler of ours that has been asked and says nothing for this long counts as gone. Milliseconds. */
  readonly schedulerAnswerMs: number;
  /** Likewise one of Dragonfly's, which keeps nobody waiting: it gives up after some five tries, half a second apart. Milliseconds. */
  readonly dragonflyAnswerMs: number;
  /** What the operator allows for an answer, if that is less. Milliseconds. */
  readonly scheduleTimeoutMs: number;
  /** Answers in a row that are of no use, after which no more are asked for. */
  readonly scheduleCountMax: number;
  /** How long a download without any source waits for a lost scheduler to come back. Milliseconds. */
  readonly schedulerLostMs: number;
  /** Parents that bring nothing for this long are reported to the scheduler. Milliseconds. */
  readonly idleMs: number;
  /** The same if all of them have failed this daemon of late. Milliseconds. */
  readonly suspectIdleMs: number;
  /** Between two questions to a scheduler whose answers help nothing, at first; it doubles, up to twenty times as much. Milliseconds. */
  readonly askPauseMs: number;
  /** Behind Dragonfly's scheduler: how soon it is asked for more parents than it first named; later and later if there are none. Milliseconds. */
  readonly widenMs: number;
  /**
   * With pieces in flight of which nothing comes for this long, and no parent left that could be asked, the scheduler is asked for help; offered
   * pieces are asked of the origin too, if we read it anyway. Milliseconds.
   */
  readonly hedgeMs: number;
  /** All that comes is less than this for a while: the same. Bytes a millisecond. */
  readonly crawlRate: number;
  /** While the origin is read, and no piece is whole for this long: what crawls is read there too, if it cannot go on there. Milliseconds. */
  readonly hopelessMs: number;
  /** A download of which nothing comes for this long, whatever it waits for, turns to the origin, or fails. Milliseconds. */
  readonly taskStallMs: number;
  /** How often the scheduler hears that the origin still sends; well below any lease. Milliseconds. */
  readonly leaseRenewalMs: number;
}

export const DEFAULT_FLIGHT_LIMITS: FlightLimits = {
  concurrentPieceCount: 8,
  backToSourceConcurrentPieceCount: 8,
  schedulerAnswerMs: 30_000,
  dragonflyAnswerMs: 10_000,
  scheduleTimeoutMs: 10_800_000,
  // With the pauses between them, some ten seconds.
  scheduleCountMax: 5,
  schedulerLostMs: 3_000,
  idleMs: 30_000,
  suspectIdleMs: 5_000,
  askPauseMs: 250,
  widenMs: 2_000,
  hedgeMs: 5_000,
  crawlRate: 64,
  hopelessMs: 20_000,
  taskStallMs: 300_000,
  leaseRenewalMs: 2_000,
};
