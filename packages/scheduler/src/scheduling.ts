import type { Download__Output, Host__Output } from "@damselfly/rpc";
import { SchedulerError } from "./errors.ts";
import { guestFacts, type Host } from "./host.ts";
import { type Announcement, HostDirectory } from "./host-directory.ts";
import type { Logger } from "./logger.ts";
import { LookBudget } from "./look-budget.ts";
import { OriginTurns } from "./origin-turns.ts";
import { Peer, type PeerVoice } from "./peer.ts";
import { PieceNumbers } from "./piece-numbers.ts";
import { Placement } from "./placement.ts";
import { full, Room } from "./room.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import { SeedsWord } from "./seeds-word.ts";
import { DEFAULT_SCHEDULER_LIMITS, type SchedulerLimits } from "./scheduler-limits.ts";
import { type PieceFacts, Task } from "./task.ts";
import { textLengthOf } from "./text-length.ts";

export interface SchedulingOptions {
  readonly config: SchedulerConfig;
  readonly limits?: Partial<SchedulerLimits> | undefined;
  /** Milliseconds since 1970; never goes back. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /**
   * Asks a seed to fetch a task for the sake of a peer with this download, in the background. `seedFailed` or `seedHolds`
   * says what came of it, unless the seed's own peer registers first. Returns what takes the question back; undefined: it cannot be asked.
   */
  readonly askSeed: (
    seed: Host,
    task: Task,
    download: Download__Output,
  ) => (() => void) | undefined;
  /**
   * Asks a seed, in the background, whether it has a task, which tells what it has read of it. `seedHolds` or `seedLacks` says what came of
   * it. False: it cannot be asked.
   */
  readonly inquireSeed: (seed: Host, task: Task, download: Download__Output) => boolean;
  readonly logger: Logger;
}

export interface Registration {
  readonly hostId: string;
  readonly taskId: string;
  readonly peerId: string;
  readonly download: Download__Output;
  /** Takes parents that it did not ask for. */
  readonly takesPushes: boolean;
  /** Of its copy of the file; absent or empty: it does not say. */
  readonly contentVersion?: string;
  /** Of whoever registers it. */
  readonly address?: string;
}

/** Failures of one parent after which a child is not offered it for a while. */
const FAILURES_MAX = 3;
/** A peer that failed can be asked about for this long. Milliseconds. */
const FAILED_TTL_MS = 60_000;
/** Piece numbers of a task whose length is not known are below this: 4 TiB in the smallest pieces. */
export const PIECE_COUNT_MAX: number = 1 << 20;

/**
 * What hosts and peers report, and what the scheduler knows from it: a state machine without I/O. Reports go in through
 * the methods, answers come out of each peer's `PeerVoice`, and `tick` looks at the deadlines. Every report ends with
 * `Placement.settle`, which does what it has made possible; whose turn it is at the origin is `OriginTurns`' affair.
 */
export class Scheduling {
  readonly #options: SchedulingOptions;
  readonly #config: SchedulerConfig;
  readonly #turns: OriginTurns;
  readonly #seedsWord: SeedsWord;
  readonly #placement: Placement;
  readonly #limits: SchedulerLimits;
  readonly #looks: LookBudget;
  readonly #room: Room;
  readonly #hosts: HostDirectory;
  readonly #tasks = new Map<string, Task>();
  /** Those with a peer that wants something. */
  readonly #active = new Set<Task>();
  #sweptAtMs: number;

  constructor(options: SchedulingOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#limits = { ...DEFAULT_SCHEDULER_LIMITS, ...options.limits };
    this.#looks = new LookBudget(this.#limits.lookCountMax);
    this.#room = new Room(this.#limits, (peer) => this.#removePeer(peer));
    this.#hosts = new HostDirectory({
      ...options,
      limits: this.#limits,
      room: this.#room,
      onLeft: (host) => this.#hostLeft(host),
    });
    this.#turns = new OriginTurns({ ...options, seeds: this.#hosts.seeds });
    this.#seedsWord = new SeedsWord({ ...options, turns: this.#turns });
    this.#placement = new Placement({
      ...options,
      turns: this.#turns,
      seedsWord: this.#seedsWord,
      looks: this.#looks,
    });
    this.#sweptAtMs = options.now();
  }

  /** Those that have announced themselves. */
  get hosts(): Host[] {
    return this.#hosts.announced;
  }

  get tasks(): Iterable<Task> {
    return this.#tasks.values();
  }

  /** @throws {SchedulerError} `ERR_HOST_NOT_FOUND` */
  host(id: string): Host {
    return this.#hosts.require(id);
  }

  /** As announced, or what the id says. */
  hostFacts(id: string): Host__Output {
    return this.#hosts.get(id)?.facts ?? guestFacts(id);
  }

  /** @throws {SchedulerError} `ERR_TASK_NOT_FOUND` */
  task(id: string): Task {
    const task = this.#tasks.get(id);
    if (task !== undefined) return task;
    throw new SchedulerError("ERR_TASK_NOT_FOUND", `task ${id} not found`);
  }

  /** @throws {SchedulerError} `ERR_TASK_NOT_FOUND`, `ERR_PEER_NOT_FOUND` */
  peer(taskId: string, peerId: string): Peer {
    const peer = this.task(taskId).peers.get(peerId);
    if (peer !== undefined) return peer;
    throw new SchedulerError("ERR_PEER_NOT_FOUND", `peer ${peerId} not found`);
  }

  /** The living daemon that has this one's id at another address, if there is one. */
  rivalOf(facts: Host__Output): Host | undefined {
    return this.#hosts.rivalOf(facts);
  }

  /** @throws {SchedulerError} `ERR_HOST_TAKEN`, `ERR_FULL` */
  announceHost(facts: Host__Output, options: Announcement = {}): Host {
    return this.#hosts.announce(facts, options);
  }

  /** @throws {SchedulerError} `ERR_HOST_NOT_FOUND` */
  deleteHost(id: string): void {
    this.#hosts.remove(this.host(id));
  }

  /**
   * A peer's first word. The answer may come through `voice` before this returns.
   *
   * @throws {SchedulerError} `ERR_HOST_NOT_FOUND`, `ERR_PEER_TAKEN`, `ERR_FULL`
   */
  register(registration: Registration, voice: PeerVoice): Peer {
    const { peerId, taskId, address = "" } = registration;
    const download = withOwnBytes(registration.download);
    const host = this.#hosts.get(registration.hostId) ?? this.#hosts.receive(registration);
    const known = this.#tasks.get(taskId);
    const namesake = known?.peers.get(peerId);
    if (namesake !== undefined && namesake.host !== host) {
      throw new SchedulerError(
        "ERR_PEER_TAKEN",
        `Cannot register peer ${peerId}: host ${namesake.host.id} has a peer of this id`,
      );
    }
    if (namesake !== undefined) this.#removePeer(namesake);
    const textLength = textLengthOf(download);
    this.#room.makeRoom({ host, task: known, address });
    const task = known ?? this.#newTask(taskId, download, textLength);
    const nowMs = this.#options.now();
    const peer = new Peer({
      ...registration,
      id: peerId,
      download,
      host,
      task,
      address,
      pieces: new PieceNumbers(this.#room.pieceNumbers),
      keeper: this.#room,
      voice,
      nowMs,
    });
    this.#room.enter(peer, textLength);
    this.#active.add(task);
    // It would not ask for the whole task if the copy it once had were still there.
    for (const old of host.peers) {
      if (old.task === task && old.isFinal && !peer.isPartial) this.#removePeer(old);
    }
    task.peers.set(peerId, peer);
    host.peers.add(peer);
    task.learnSizes(peer, { replace: false });
    this.#place(peer);
    if (task.seedAsked?.host === host) task.seedAsked = undefined;
    if (peer.waiting === undefined) this.#placement.settle(task);
    else this.#placement.settleFor(peer);
    return peer;
  }

  /** @throws {SchedulerError} `ERR_FULL` */
  #newTask(id: string, download: Download__Output, textLength: number): Task {
    if (this.#tasks.size >= this.#limits.taskCountMax) {
      for (const task of this.#tasks.values()) if (task.peers.size === 0) this.#removeTask(task);
    }
    if (this.#tasks.size >= this.#limits.taskCountMax) throw full("further tasks");
    this.#room.takeText(textLength);
    const nowMs = this.#options.now();
    const task = new Task(id, download, { textLength, nowMs, digests: this.#room.digests });
    this.#tasks.set(id, task);
    return task;
  }

  #removeTask(task: Task): void {
    this.#tasks.delete(task.id);
    this.#active.delete(task);
    this.#room.giveTextBack(task.textLength);
    task.forgetDigests();
  }

  #place(peer: Peer): void {
    const { download, task } = peer;
    if (download.actualContentLength === 0) {
      peer.state = "ReceivedEmpty";
      peer.voice?.empty();
    } else if (download.metadataOnly) {
      peer.state = "Succeeded";
      peer.complete = !peer.isPartial;
      peer.retire();
      peer.voice?.metadataOnly();
    } else if (download.needBackToSource && this.#turns.mayInsist(peer)) {
      const isExpected = task.seedAsked === undefined || task.seedAsked.host === peer.host;
      if (task.lease === undefined && isExpected) this.#placement.grantOrigin(peer, "asked for");
      else this.#placement.sendToOrigin(peer, "asked for");
    } else {
      this.#placement.wait(peer);
    }
  }

  /** The peer begins to fetch from parents. */
  started(peer: Peer): void {
    this.#heard(peer);
    this.#heardOfSeed(peer);
    if (peer.state !== "Pending" && peer.state !== "ReceivedNormal") return;
    peer.state = "Running";
    this.#placement.settleWith(peer);
  }

  /** The peer begins to read the origin. */
  originStarted(peer: Peer): void {
    this.#heard(peer);
    if (peer.isFinal) return;
    peer.state = "BackToSource";
    peer.readsOrigin = true;
    this.#heardOfSeed(peer);
    this.#turns.progressed(peer);
    this.#placement.settle(peer.task);
  }

  /** @param parentId whose piece it was; absent or unknown: it does not matter */
  pieceFinished(peer: Peer, number: number, parentId?: string): void {
    this.#heard(peer);
    const parent = parentId === undefined ? undefined : peer.task.peers.get(parentId);
    if (parent !== undefined) {
      parent.complaints.delete(peer.host);
      parent.hasGiven();
      peer.failures.delete(parent);
      peer.fedBy.set(parent, true);
    }
    if (peer.holdsLease) this.#turns.progressed(peer);
    this.#addPiece(peer, number);
  }

  originPieceFinished(peer: Peer, facts: PieceFacts): void {
    this.#heard(peer);
    if (!isPieceNumber(peer, facts.number)) return;
    this.#turns.progressed(peer);
    if (peer.readsOrigin && facts.digest !== "" && !peer.task.learnDigest(peer, facts)) {
      this.#options.logger.warn(
        { task: peer.task.id, peer: peer.id, host: peer.host.id, piece: facts.number },
        "peer read another piece from the origin than the one before it",
      );
    }
    this.#addPiece(peer, facts.number);
  }

  /** The peer had this piece before it registered. @param facts as it read the origin, then; absent: somebody else gave it the piece */
  pieceHeld(peer: Peer, number: number, facts?: PieceFacts): void {
    this.#heard(peer);
    const { task } = peer;
    if (!isPieceNumber(peer, number)) return;
    // Anybody can say that he has read it. Seeds are there to do so.
    if (facts !== undefined && facts.digest !== "" && peer.host.isSeed) {
      const isFirst = task.lease === undefined && task.digests.length === 0;
      task.learnSizes(peer, { replace: isFirst });
      if (!task.learnDigest(peer, facts)) {
        this.#options.logger.warn(
          { task: task.id, peer: peer.id, host: peer.host.id, piece: number },
          "seed has read another piece than somebody else says it is",
        );
      }
    }
    this.#addPiece(peer, number);
  }

  pieceFailed(
    peer: Peer,
    options: { readonly parentId: string; readonly temporary: boolean },
  ): void {
    this.#heard(peer);
    const parent = peer.task.peers.get(options.parentId);
    if (parent === undefined || parent === peer) return;
    const failures = (peer.failures.get(parent) ?? 0) + 1;
    peer.failures.set(parent, failures);
    parent.complainedOfBy(peer.host);
    if (options.temporary && failures < FAILURES_MAX) return;
    this.#setAside(peer, parent);
    this.#placement.settle(peer.task);
  }

  /** The origin did not give a piece. That is no progress, and the peer's last word will say whether it gives up. */
  originPieceFailed(peer: Peer): void {
    this.#heard(peer);
  }

  /**
   * The peer wants other parents than these; none named: whatever there is. Dragonfly's peers name all they have, also those that are
   * doing well: only from whom nothing came, or a piece failed since one came, is kept from them.
   */
  reschedule(peer: Peer, failedParentIds: readonly string[]): void {
    this.#heard(peer);
    if (!peer.wants) return;
    for (const id of failedParentIds) {
      const parent = peer.task.peers.get(id);
      if (parent === undefined || parent === peer) continue;
      if (!peer.takesPushes && peer.fedBy.has(parent) && !peer.failures.has(parent)) {
        peer.unlink(parent);
        continue;
      }
      parent.complainedOfBy(peer.host);
      this.#setAside(peer, parent);
    }
    if (failedParentIds.length === 0) {
      for (const parent of peer.parents) peer.unlink(parent);
    }
    this.#placement.wait(peer);
    this.#placement.settleFor(peer);
  }

  /** The peer has all it wanted: its last word. */
  finished(peer: Peer): void {
    this.#heard(peer);
    if (!peer.isFinal) {
      peer.state = "Succeeded";
      peer.complete ||= !peer.isPartial;
      peer.task.lastFailed = false;
      this.#turns.release(peer);
      peer.retire();
    }
    this.#heardOfSeed(peer);
    endStream(peer);
    this.#placement.settle(peer.task);
  }

  /** The peer gives up: its last word. */
  failed(peer: Peer): void {
    this.#heard(peer);
    if (!peer.isFinal) {
      peer.state = "Failed";
      peer.task.lastFailed = true;
      this.#turns.release(peer);
      peer.retire();
      peer.cutOff();
    }
    endStream(peer);
    this.#placement.settle(peer.task);
  }

  /** The peer's stream has ended. Without a last word it has left. */
  gone(peer: Peer): void {
    peer.voice = undefined;
    if (peer.task.peers.get(peer.id) !== peer) return;
    if (!peer.isFinal) this.#removePeer(peer);
    this.#placement.settle(peer.task);
  }

  /** @throws {SchedulerError} `ERR_TASK_NOT_FOUND`, `ERR_PEER_NOT_FOUND` */
  deletePeer(taskId: string, peerId: string): void {
    const peer = this.peer(taskId, peerId);
    this.#removePeer(peer);
    this.#placement.settle(peer.task);
  }

  /**
   * The host has no copy of this task any more.
   *
   * @throws {SchedulerError} `ERR_HOST_NOT_FOUND`, `ERR_TASK_NOT_FOUND`
   */
  deleteTask(hostId: string, taskId: string): void {
    const host = this.host(hostId);
    const task = this.task(taskId);
    for (const peer of host.peers) if (peer.task === task) this.#removePeer(peer);
    this.#placement.settle(task);
  }

  /** A seed did not take the task it was asked for. */
  seedFailed(taskId: string, hostId: string): void {
    const task = this.#tasks.get(taskId);
    if (task === undefined) return;
    // Dragonfly's seeds say nothing in the call when they had the task already; they register a finished peer.
    for (const peer of task.peers.values()) {
      if (peer.host.id === hostId && peer.complete && peer.canServe) return;
    }
    this.#turns.passOver(task, hostId);
    this.#seedsWord.heard(task);
    this.#placement.settle(task);
  }

  /** A seed that was asked whether it has a task has not all of it, or does not say. */
  seedLacks(taskId: string): void {
    const task = this.#tasks.get(taskId);
    if (task === undefined) return;
    this.#seedsWord.heard(task);
    this.#placement.settle(task);
  }

  /** A seed that was asked for a task has had all of it already. */
  seedHolds(taskId: string, options: { readonly hostId: string; readonly peerId: string }): void {
    const task = this.#tasks.get(taskId);
    const host = this.#hosts.get(options.hostId);
    if (task === undefined || host === undefined) return;
    if (task.seedAsked?.host === host) task.seedAsked = undefined;
    this.#seedsWord.heard(task);
    // Those who want the task may have found it to be of no use: asked for their sake it would say the same, as fast as it is asked.
    this.#turns.leaveAside(task, host.id);
    // Its own word, if it gave one, is better.
    if (![...host.peers].some((peer) => peer.task === task) && !task.peers.has(options.peerId)) {
      const download = { ...task.download, range: null };
      const { address } = host;
      try {
        this.#room.makeRoom({ host, task, address });
      } catch {
        return; // it says so itself, or is asked again later
      }
      const peer = new Peer({
        id: options.peerId,
        host,
        task,
        address,
        pieces: new PieceNumbers(this.#room.pieceNumbers),
        keeper: this.#room,
        download,
        takesPushes: false,
        voice: undefined,
        nowMs: this.#options.now(),
      });
      this.#room.enter(peer, 0);
      peer.state = "Succeeded";
      peer.complete = true;
      peer.retire();
      task.peers.set(peer.id, peer);
      host.peers.add(peer);
    }
    this.#placement.settle(task);
  }

  /** Looks at every deadline. Call it every `tickMs`. */
  tick(): void {
    const nowMs = this.#options.now();
    this.#looks.refill();
    this.#hosts.forgetExpired(nowMs);
    if (nowMs - this.#sweptAtMs >= this.#config.gcIntervalMs) this.#sweep(nowMs);
    const active = [...this.#active];
    for (const task of active) {
      if (this.#looks.isSpent) break;
      // Those that are left come first the next time.
      this.#active.delete(task);
      this.#active.add(task);
      if (![...task.peers.values()].some((peer) => peer.wants)) {
        this.#active.delete(task);
        continue;
      }
      const { seedAsked } = task;
      if (seedAsked !== undefined && nowMs >= seedAsked.untilMs) {
        this.#options.logger.warn(
          { task: task.id, host: seedAsked.host.id },
          "seed did not register in time, passing it over",
        );
        this.#turns.passOver(task, seedAsked.host.id);
        this.#seedsWord.heard(task);
      }
      this.#seedsWord.tick(task);
      this.#placement.tick(task);
    }
  }

  /** Ends every stream and forgets everything. */
  close(): void {
    const error = new SchedulerError("ERR_CLOSED", "the scheduler is stopping");
    for (const task of this.#tasks.values()) {
      for (const peer of task.peers.values()) {
        const { voice } = peer;
        peer.voice = undefined;
        voice?.refuse(error);
      }
    }
    this.#tasks.clear();
    this.#active.clear();
    this.#hosts.clear();
  }

  #heard(peer: Peer): void {
    peer.updatedAtMs = this.#options.now();
    peer.task.updatedAtMs = peer.updatedAtMs;
  }

  /** What a seed has of a task it says before it begins, or is done. */
  #heardOfSeed(peer: Peer): void {
    if (peer.host.isSeed && !peer.task.seedHeard) this.#seedsWord.heard(peer.task);
  }

  #addPiece(peer: Peer, number: number): void {
    if (!isPieceNumber(peer, number) || peer.complete || peer.isFinal) return;
    peer.pieces.add(number);
    if (peer.pieces.size !== peer.pieceCount) return;
    peer.complete = true;
    this.#placement.settle(peer.task);
  }

  #setAside(child: Peer, parent: Peer): void {
    const nowMs = this.#options.now();
    child.unlink(parent);
    child.setAside.set(parent, nowMs + this.#config.setAsideMs);
    parent.givenUpBy(child.host, nowMs);
  }

  #removePeer(peer: Peer): void {
    this.#turns.release(peer);
    const { voice } = peer;
    peer.voice = undefined;
    peer.leave();
    const message = `peer ${peer.id} has left task ${peer.task.id}`;
    voice?.refuse(new SchedulerError("ERR_PEER_GONE", message));
  }

  #hostLeft(host: Host): void {
    const tasks = new Set([...host.peers].map((peer) => peer.task));
    for (const peer of host.peers) this.#removePeer(peer);
    for (const task of this.#tasks.values()) {
      if (task.seedAsked?.host !== host) continue;
      task.seedAsked = undefined;
      tasks.add(task);
    }
    for (const task of tasks) this.#placement.settle(task);
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const task of this.#tasks.values()) {
      for (const peer of task.peers.values()) {
        if (nowMs - peer.updatedAtMs >= this.#peerTtlMs(peer)) this.#removePeer(peer);
      }
      if (task.peers.size === 0) {
        this.#removeTask(task);
        continue;
      }
      task.forgetUnusedDigests();
      this.#placement.settle(task);
    }
  }

  #peerTtlMs(peer: Peer): number {
    if (peer.state === "Succeeded") return this.#config.peerTtlMs;
    if (peer.isFinal) return FAILED_TTL_MS;
    return peer.waiting === undefined ? this.#config.pieceDownloadTimeoutMs : Infinity;
  }
}

function isPieceNumber({ pieceCount = PIECE_COUNT_MAX }: Peer, number: number): boolean {
  return number < Math.min(pieceCount, PIECE_COUNT_MAX);
}

/** Its own copies of what would keep the whole message in memory that it came in. */
function withOwnBytes(download: Download__Output): Download__Output {
  const { certificateChain } = download;
  if (certificateChain.length === 0) return download;
  return { ...download, certificateChain: certificateChain.map((bytes) => Buffer.from(bytes)) };
}

function endStream(peer: Peer): void {
  const { voice } = peer;
  peer.voice = undefined;
  voice?.end();
}
