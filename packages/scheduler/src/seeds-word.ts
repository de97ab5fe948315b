import type { Download__Output } from "@damselfly/rpc";
import type { Host } from "./host.ts";
import type { Logger } from "./logger.ts";
import type { OriginTurns } from "./origin-turns.ts";
import type { Peer } from "./peer.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import type { Task } from "./task.ts";

export interface SeedsWordOptions {
  readonly config: Pick<SchedulerConfig, "seedInquiryMs">;
  /** Milliseconds. */
  readonly now: () => number;
  readonly turns: Pick<OriginTurns, "chooseSeed">;
  /** See `SchedulingOptions`. */
  readonly inquireSeed: (seed: Host, task: Task, download: Download__Output) => boolean;
  readonly logger: Logger;
}

/**
 * Whom a child may be sent to before anybody has told what the pieces of a task are. A scheduler that was started anew does not know it, and
 * cannot tell who has the right pieces from who says so: it asks a seed, which has read the origin, and until that has had its say nobody
 * but seeds is named. Once for each task, for `seedInquiryMs` at most, and only where there is a seed to ask.
 */
export class SeedsWord {
  readonly #options: SeedsWordOptions;

  constructor(options: SeedsWordOptions) {
    this.#options = options;
  }

  /**
   * Those of them whom this peer may be told of; asks a seed if it must. The same array if all of them, others are to be waited for.
   *
   * @param servers of its task
   */
  nameable(servers: readonly Peer[], peer: Peer): readonly Peer[] {
    const { task } = peer;
    // Dragonfly's peers have no use for digests.
    if (task.seedHeard || !peer.takesPushes) return servers;
    if (!servers.some((server) => isDoubtful(server, peer))) return servers;
    const seeds = servers.filter(({ host }) => host.isSeed);
    const isUnderWay = seeds.length > 0 || task.seedAsked !== undefined || task.seedInquired;
    if (!isUnderWay && !this.#inquire(peer)) {
      task.doubtUntilMs = undefined;
      return servers;
    }
    task.doubtUntilMs ??= this.#options.now() + this.#options.config.seedInquiryMs;
    return seeds;
  }

  /** A seed has had its say, or nothing more is expected of it. */
  heard(task: Task): void {
    task.seedHeard = true;
    task.doubtUntilMs = undefined;
  }

  /** Looks at what time has brought to a task. */
  tick(task: Task): void {
    if (task.doubtUntilMs === undefined || this.#options.now() < task.doubtUntilMs) return;
    this.#options.logger.warn(
      { task: task.id },
      "no seed has said in time what it has, believing who says that he has it",
    );
    this.heard(task);
  }

  /** False: there is none that could be asked. */
  #inquire(peer: Peer): boolean {
    const { turns, inquireSeed, logger } = this.#options;
    const { task } = peer;
    const seed = turns.chooseSeed(peer);
    // Dragonfly's say nothing of digests. And a peer of the seed's own would not ask for what the seed has.
    if (seed === undefined || !seed.isOurs || seed === peer.host) return false;
    if (!inquireSeed(seed, task, peer.download)) return false;
    task.seedInquired = true;
    logger.info({ task: task.id, host: seed.id }, "asking a seed what it has of the task");
    return true;
  }
}

/** Whether this peer could be sent there, and nobody vouches for what it would get. */
function isDoubtful(server: Peer, peer: Peer): boolean {
  return !server.host.isSeed && server.host !== peer.host && peer.isCompatible(server);
}
