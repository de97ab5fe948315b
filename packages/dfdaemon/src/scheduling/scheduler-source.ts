import type { BlockList } from "./block-list.ts";

/** A scheduler as somebody named it; not asked yet whether it is there. */
export interface KnownScheduler {
  /** Its place on the hash ring: the hostname that a manager gives, else `ip:port`. */
  readonly name: string;
  /** An IP literal. */
  readonly ip: string;
  readonly port: number;
  /** A manager's numbers; 0: there is no manager. */
  readonly id: number;
  readonly clusterId: number;
}

/** Which schedulers there are, and what their clusters do not want downloaded. */
export interface SchedulerListing {
  /** In the order of preference of their clusters. */
  readonly schedulers: readonly KnownScheduler[];
  /** By cluster; one without an entry blocks nothing. */
  readonly blockLists?: ReadonlyMap<number, BlockList>;
}

/** Who knows which schedulers there are: the config file, `dynconfig.yaml` or a manager. */
export interface SchedulerSource extends AsyncDisposable {
  /** For messages: `scheduler.addrs`. */
  readonly name: string;
  /**
   * As of now. Takes no longer than some seconds.
   *
   * @throws {DaemonError} `ERR_SCHEDULER` when it cannot be found out; what was known before holds
   */
  list(signal: AbortSignal): Promise<SchedulerListing>;
}
