/** How a scheduler behaves. Times are milliseconds. */
export interface SchedulerConfig {
  /** A peer that nobody can serve and that may not read the origin is refused after `retryLimit` times `retryIntervalMs`. */
  readonly retryLimit: number;
  /** One that may read it waits for its turn at least `retryBackToSourceLimit` times `retryIntervalMs`, and at least as long as a lease lasts. */
  readonly retryBackToSourceLimit: number;
  /** Also how long a peer waits for a parent that has not children enough already. */
  readonly retryIntervalMs: number;
  /** Peers of one task that have been sent to the origin and have not finished; one more is refused. */
  readonly backToSourceCount: number;
  /** An unfinished peer that reports nothing for this long is forgotten. */
  readonly pieceDownloadTimeoutMs: number;
  /** A finished peer is a parent for this long. */
  readonly peerTtlMs: number;
  /** A host that gave no announce interval is forgotten after this long without an announcement. */
  readonly hostTtlMs: number;
  /** How often the forgotten are swept out. */
  readonly gcIntervalMs: number;
  /**
   * A reader of the origin that finishes no piece for this long may be replaced. To it comes the time that the pieces
   * it reads at once take at `leaseBytesPerSecondMin`: with 64 MiB pieces nothing finishes for long on a slow origin.
   */
  readonly originLeaseMs: number;
  /** Bytes per second below which a reader of the origin counts as stalled. */
  readonly leaseBytesPerSecondMin: number;
  /** A seed that was asked to fetch a task and has not registered after this long is passed over. */
  readonly seedRegistrationMs: number;
  /** So long, at most, a child is told of seeds only while a seed is asked which pieces of a task it has read. */
  readonly seedInquiryMs: number;
  /** A seed that failed a task is not asked for it again for this long. */
  readonly seedAsideMs: number;
  /** Parents of a peer in the mesh. More is more robust and costs every peer as many SyncPieces streams. */
  readonly parentsPerPeer: number;
  /** Children that a peer is given while others could serve them, so that pieces fan out instead of queueing there. */
  readonly childrenMax: number;
  /** The same for the origin's reader, which has the most to do. */
  readonly readerChildrenMax: number;
  /** A parent that a child called failed is not offered to this child for this long. */
  readonly setAsideMs: number;
  /** At least this long between two messages that a peer did not ask for. */
  readonly pushIntervalMs: number;
  /** How often deadlines are looked at; no deadline is kept more precisely. */
  readonly tickMs: number;
}

/** Down to `hostTtlMs`: Dragonfly's defaults (scheduler/config/constants.go). */
export const DEFAULT_SCHEDULER_CONFIG: SchedulerConfig = {
  retryLimit: 5,
  retryBackToSourceLimit: 4,
  retryIntervalMs: 500,
  backToSourceCount: 200,
  pieceDownloadTimeoutMs: 30 * 60_000,
  peerTtlMs: 24 * 3_600_000,
  hostTtlMs: 3_600_000,
  gcIntervalMs: 10_000,
  originLeaseMs: 10_000,
  leaseBytesPerSecondMin: 4 * 1024 * 1024,
  seedRegistrationMs: 5_000,
  seedInquiryMs: 3_000,
  seedAsideMs: 60_000,
  parentsPerPeer: 4,
  childrenMax: 8,
  readerChildrenMax: 4,
  setAsideMs: 30_000,
  pushIntervalMs: 200,
  tickMs: 100,
};
