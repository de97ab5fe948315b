import { createHash } from "node:crypto";
import type { Download__Output } from "@damselfly/rpc";
import { SchedulerError } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Logger } from "./logger.ts";
import type { Peer } from "./peer.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import type { Task } from "./task.ts";

export interface OriginTurnsOptions {
  readonly config: SchedulerConfig;
  /** Milliseconds. */
  readonly now: () => number;
  readonly logger: Logger;
  /** In the order in which they became known. */
  readonly seeds: Iterable<Host>;
  /** See `SchedulingOptions`. */
  readonly askSeed: (
    seed: Host,
    task: Task,
    download: Download__Output,
  ) => (() => void) | undefined;
}

/**
 * Whose turn it is to read the origin. For each task at most one peer has the lease (`task.lease`). Every piece it
 * reports renews the lease; its last word or the end of its stream ends it; once it ran out, another peer can have it.
 * Outside of it read only those whose user said so (`need_back_to_source`) and those who lost it and have not noticed.
 *
 * As long as nobody has the whole task and somebody wants it, a peer has the lease or a seed was asked to take it. Who has the whole task
 * and has failed everybody who wants it, or several one after the other and served nobody meanwhile, does not count: he may be dead, or a
 * liar. Where that is wrong one more reads the origin.
 */
export class OriginTurns {
  readonly #options: OriginTurnsOptions;

  constructor(options: OriginTurnsOptions) {
    this.#options = options;
  }

  mayRead(peer: Peer): boolean {
    if (peer.download.disableBackToSource || this.whyForbidden(peer) !== undefined) return false;
    return peer.task.readerCount < this.#options.config.backToSourceCount;
  }

  /** Priorities 1 and 2 do not let a task in that nobody has (common.v2.Priority). */
  whyForbidden(peer: Peer): SchedulerError | undefined {
    const { priority } = peer.download;
    if (priority === "LEVEL1") {
      return new SchedulerError(
        "ERR_FORBIDDEN",
        `Cannot fetch task ${peer.task.id}: nobody has it, and priority 1 forbids it`,
      );
    }
    if (priority === "LEVEL2") {
      return new SchedulerError(
        "ERR_PEER_NOT_FOUND",
        `Cannot fetch task ${peer.task.id}: nobody has it, and priority 2 is for what somebody has`,
      );
    }
    return undefined;
  }

  /**
   * Whether a peer whose user wants it from the origin gets its way at once. A seed that was passed over has no such
   * claim: it comes after its time, and says so only because it was asked.
   */
  mayInsist(peer: Peer): boolean {
    return !this.#isAside(peer.task, peer.host);
  }

  /** Whether somebody should start to read the origin. */
  isReaderWanted(task: Task): boolean {
    if (task.seedAsked !== undefined || task.lease !== undefined) return false;
    if (wantingOf(task).next().done === true) return false;
    for (const peer of task.peers.values()) {
      if (peer.complete && peer.canServe && this.#isOfUse(peer, wantingOf(task))) return false;
    }
    return true;
  }

  /** Whether it may be this peer, which wants something, or a seed for its sake. @param servers of its task */
  isReaderWantedFor(asker: Peer, servers: readonly Peer[]): boolean {
    const { task } = asker;
    if (task.seedAsked !== undefined) return false;
    if (task.lease !== undefined && (!this.hasRunOut(task) || !this.mayRead(asker))) return false;
    return !servers.some(
      (server) =>
        server.complete && asker.isCompatible(server) && this.#isOfUse(server, wantingLike(asker)),
    );
  }

  /**
   * Whether somebody who has the whole task may feed the swarm: not when everybody who wants it has just found him to be of no use. Where
   * they come faster than they find out, that is never so, and it is enough that several have.
   */
  #isOfUse(holder: Peer, wanting: Iterable<Peer>): boolean {
    const nowMs = this.#options.now();
    if (holder.isDoubted(nowMs)) return false;
    let count = 0;
    for (const peer of wanting) {
      if ((peer.setAside.get(holder) ?? 0) <= nowMs) return true;
      count += 1;
      if (count === WITNESSES_MAX) break;
    }
    return false;
  }

  /** Whether a reader that makes no progress keeps others waiting, one of whom can take its place. */
  isReaderInTheWay(task: Task): boolean {
    if (!this.hasRunOut(task)) return false;
    for (const peer of task.peers.values()) if (peer.complete && peer.canServe) return false;
    return this.successor(task) !== undefined;
  }

  /**
   * Who can be made reader without having asked: one who shares, a seed's peer first, then whoever has most. One that
   * has stalled before is better than none, but not better than the one that has stalled now.
   */
  successor(task: Task): Peer | undefined {
    const { lease } = task;
    return [...task.peers.values()]
      .filter(
        (peer) =>
          peer !== lease?.holder &&
          peer.wants &&
          peer.state !== "ReceivedEmpty" &&
          (!peer.stalled || lease === undefined) &&
          (peer.takesPushes || peer.waiting !== undefined) &&
          this.mayRead(peer),
      )
      .toSorted(
        (a, b) =>
          Number(a.stalled) - Number(b.stalled) ||
          Number(b.host.shares) - Number(a.host.shares) ||
          Number(b.host.isSeed) - Number(a.host.isSeed) ||
          b.pieces.size - a.pieces.size,
      )[0];
  }

  /** Asks a seed to read the origin for this peer's sake. False: there is none to ask, or no sense in it. */
  askSeed(peer: Peer): boolean {
    const { task } = peer;
    const { logger, now, config, askSeed } = this.#options;
    if (peer.host.isSeed || peer.download.disableBackToSource) return false;
    if (PRIORITIES_WITHOUT_SEED.has(peer.download.priority)) return false;
    for (const other of task.peers.values()) {
      // Whoever has a part reads less from the origin than a seed that begins with nothing.
      if (other.wants && (other.pieces.size > 0 || other.host.isSeed)) return false;
    }
    const seed = this.chooseSeed(peer);
    if (seed === undefined) return false;
    const cancel = askSeed(seed, task, peer.download);
    if (cancel === undefined) return false;
    logger.info({ task: task.id, host: seed.id }, "asking a seed to fetch the task");
    task.seedAsked = { host: seed, untilMs: now() + config.seedRegistrationMs, cancel };
    return true;
  }

  /** A seed did not take the task: others come first for a while. */
  passOver(task: Task, hostId: string): void {
    this.leaveAside(task, hostId);
    if (task.seedAsked?.host.id !== hostId) return;
    const { cancel } = task.seedAsked;
    task.seedAsked = undefined;
    cancel();
  }

  grant(peer: Peer): void {
    this.#lend(peer);
    peer.task.learnSizes(peer, { replace: true });
    peer.stalled = false;
    this.#options.logger.info(
      { task: peer.task.id, peer: peer.id, host: peer.host.id },
      "peer reads the origin",
    );
  }

  #lend(peer: Peer): void {
    peer.task.lease = { holder: peer, renewedAtMs: this.#options.now() };
    peer.hadTurn = true;
  }

  /** A seed has said what it had to say about the task: it is not asked again for a while. */
  leaveAside(task: Task, hostId: string): void {
    const [oldest] = task.seedsAside.keys();
    if (task.seedsAside.size >= SEEDS_ASIDE_MAX && oldest !== undefined) {
      task.seedsAside.delete(oldest);
    }
    task.seedsAside.set(hostId, this.#options.now() + this.#options.config.seedAsideMs);
  }

  /** Something arrived at a peer: its lease is renewed, or, if nobody else has it, found again. A seed is not needed then. */
  progressed(peer: Peer): void {
    const { task } = peer;
    peer.stalled = false;
    if (!peer.wants || !peer.readsOrigin) return;
    if (task.lease === undefined) {
      if (task.seedAsked !== undefined) this.passOver(task, task.seedAsked.host.id);
      this.#lend(peer);
    } else if (peer.holdsLease) {
      task.lease.renewedAtMs = this.#options.now();
    }
  }

  release(peer: Peer): void {
    if (!peer.holdsLease) return;
    peer.task.lease = undefined;
    if (peer.host.isSeed && peer.state !== "Succeeded") this.passOver(peer.task, peer.host.id);
  }

  hasRunOut(task: Task): boolean {
    const { lease } = task;
    return (
      lease !== undefined && this.#options.now() - lease.renewedAtMs >= this.leaseMs(lease.holder)
    );
  }

  revoke(task: Task): void {
    if (task.lease === undefined) return;
    const { holder } = task.lease;
    this.#options.logger.warn(
      { task: task.id, peer: holder.id, host: holder.host.id },
      "peer makes no progress at the origin, another one takes over",
    );
    holder.stalled = true;
    this.release(holder);
  }

  /** How long a lease of this peer's lasts without progress: the pieces it reads at once may all end at the same time. */
  leaseMs(peer: Peer): number {
    const { actualPieceLength, concurrentPieceCount } = peer.download;
    const bytesAtOnce = (actualPieceLength ?? 0) * Math.max(1, concurrentPieceCount ?? 1);
    const { originLeaseMs, leaseBytesPerSecondMin } = this.#options.config;
    const patience = peer.takesPushes ? 1 : SILENT_READER_PATIENCE;
    return originLeaseMs + ((bytesAtOnce * patience) / leaseBytesPerSecondMin) * 1_000;
  }

  /** The same one for the same task as long as it is there, for it may still have a copy (rendezvous hashing). */
  chooseSeed(peer: Peer): Host | undefined {
    const { task } = peer;
    const nowMs = this.#options.now();
    let [chosen, best]: [Host | undefined, string] = [undefined, ""];
    let count = 0;
    for (const host of this.#options.seeds) {
      count += 1;
      if (count > SEEDS_MAX) break;
      if (!host.shares || host.expiresAtMs <= nowMs || this.#isAside(task, host)) continue;
      if (holdsAnother(host, peer)) continue;
      const weight = seedWeight(host, task);
      if (weight > best) [chosen, best] = [host, weight];
    }
    return chosen;
  }

  #isAside(task: Task, host: Host): boolean {
    return (task.seedsAside.get(host.id) ?? 0) > this.#options.now();
  }
}

/** Peers that are asked whether another is of use; of so many that say no, the rest says the same. */
const WITNESSES_MAX = 256;

/** Peers that want something of the task, and may have it. */
function* wantingOf(task: Task): Generator<Peer, undefined> {
  for (const peer of task.peers.values()) {
    if (peer.wants && peer.state !== "ReceivedEmpty") yield peer;
  }
}

/** Those of them that can have it from whom this one can. */
function* wantingLike(asker: Peer): Generator<Peer, undefined> {
  for (const peer of wantingOf(asker.task)) {
    if (asker.isCompatible(peer)) yield peer;
  }
}

/** Seeds among which one is chosen; a cluster has a handful. */
const SEEDS_MAX = 256;

/** Seeds that are remembered as having failed a task. */
const SEEDS_ASIDE_MAX = 256;

/** How many times as slow a reader may be that says nothing before a piece is whole, as Dragonfly's. */
const SILENT_READER_PATIENCE = 4;

/** 3: the peer itself goes to the origin; 1 and 2: nobody does. */
const PRIORITIES_WITHOUT_SEED: ReadonlySet<string> = new Set(["LEVEL1", "LEVEL2", "LEVEL3"]);

/** Whether all that a host would answer is that it has the task already: another version of it than this peer wants. */
function holdsAnother(host: Host, peer: Peer): boolean {
  for (const held of host.peers) {
    if (held.task === peer.task && held.complete && !peer.isCompatible(held)) return true;
  }
  return false;
}

function seedWeight(host: Host, task: Task): string {
  return createHash("sha256").update(`${host.id}\0${task.id}`).digest("hex");
}
