import type { PieceRecord, StoredTask } from "@damselfly/storage";
import { TransportError } from "@damselfly/transport";
import { codeOf } from "../code-of.ts";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import { sourceDigestOf } from "../tasks/is-same-source.ts";
import { toError } from "../to-error.ts";
import type { ParentChannel } from "./parent-channel.ts";
import { Parent } from "./parent.ts";
import { contradict, type PieceDigests } from "../piece-digests.ts";
import type { ParentHosts } from "./parent-host.ts";
import { isLie, type OriginOffer, PieceFetches, type PieceFetchesEvents } from "./piece-fetches.ts";
import type { PieceQueue } from "./piece-queue.ts";
import type { PieceRun } from "./piece-run.ts";

/** Parents of one download at once, each with a stream that tells its pieces. */
const PARENTS_MAX = 64;
/** For so long a parent that brought nothing is not taken up again, at first; it doubles. A scheduler of ours leaves it aside as long. Milliseconds. */
const IDLE_REST_MS = 30_000;

/** A parent that was dropped because nothing came from it. */
interface IdleParent {
  readonly candidate: CandidateParent;
  readonly restMs: number;
  readonly untilMs: number;
}

export interface SwarmOptions {
  readonly task: StoredTask;
  readonly queue: PieceQueue<Parent>;
  readonly dataPlane: DataPlane;
  readonly channel: ParentChannel;
  /** Our own host id: we are never our own parent. */
  readonly hostId: string;
  /** What this daemon knows of hosts. */
  readonly hosts: ParentHosts;
  /** Pieces in flight at once, over all parents. */
  readonly concurrentPieceCount: number;
  readonly logger: Logger;
  readonly now: () => number;
  readonly random: () => number;
  readonly events: SwarmEvents;
}

export interface SwarmEvents extends Omit<PieceFetchesEvents, "failed" | "drop" | "freed"> {
  /** A parent could not bring a piece; undefined: it is dropped. */
  pieceFailed(pieceNumber: number | undefined, parent: CandidateParent): void;
}

/** The parents of one download: learns what each has, fetches from them all at once, and drops those that fail. */
export class Swarm implements AsyncDisposable {
  readonly #options: SwarmOptions;
  readonly #parents = new Map<string, Parent>();
  readonly #fetches: PieceFetches;
  /** Each ends listening to a parent. */
  readonly #stops = new Map<Parent, AbortController>();
  /** By peer id: dropped for the rest of this download. */
  readonly #dropped = new Map<string, CandidateParent>();
  /** By peer id: dropped for a while. What had nothing to give may read the origin by now. */
  readonly #idle = new Map<string, IdleParent>();
  readonly #bannedHosts = new Set<string>();
  readonly #digests = new Map<number, PieceDigests>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;
  #isForsaken = false;

  constructor(options: SwarmOptions) {
    this.#options = options;
    const { events } = options;
    this.#fetches = new PieceFetches({
      ...options,
      parents: () => [...this.#parents.values()],
      digests: this.#digests,
      events: {
        ...events,
        failed: (number, { candidate }) => events.pieceFailed(number, candidate),
        drop: (parent, error, about) => this.#drop(parent, error, about),
        freed: (parent) => this.#settle(parent),
      },
    });
  }

  get parentCount(): number {
    return this.#parents.size;
  }

  /** Pieces in flight. */
  get inFlight(): number {
    return this.#fetches.count;
  }

  get runs(): ReadonlySet<PieceRun> {
    return this.#fetches.runs;
  }

  get parents(): readonly Parent[] {
    return [...this.#parents.values()];
  }

  /** Of the pieces in flight, those whose rests the origin is asked for. */
  get inFlightAtOrigin(): number {
    return this.#fetches.originCount;
  }

  /** Parents that have been of no use: a scheduler need not name them now. */
  get dropped(): CandidateParent[] {
    const resting = [...this.#idle.values()].filter((idle) => this.#isResting(idle));
    return [...this.#dropped.values(), ...resting.map(({ candidate }) => candidate)];
  }

  /** Nobody is asked for anything that is in flight: there is no room for it in memory. */
  get awaitsRoom(): boolean {
    const runs = [...this.runs];
    return runs.length > 0 && runs.every((run) => run.awaitsRoom);
  }

  /** Of late something that is in flight has waited for the network, and not for the disk or for our own limits. */
  get isStarved(): boolean {
    return [...this.runs].some((run) => run.view().isStarved);
  }

  /** There are parents, and each has failed somebody of late. */
  get isSuspect(): boolean {
    return this.parents.length > 0 && this.parents.every(({ host }) => host.isSuspect);
  }

  /** Parents of which too little comes when too little comes at all: they have failed, fallen silent, or are at it this moment. */
  get doubtful(): CandidateParent[] {
    const now = this.#options.now();
    return [...this.#parents.values()]
      .filter(
        ({ restsUntilMs, host, inFlight }) => restsUntilMs > now || host.isSuspect || inFlight > 0,
      )
      .map(({ candidate }) => candidate);
  }

  /** Takes up parents not known yet, and whatever is new about the digests of pieces. Returns how many parents were new. */
  add(candidates: readonly CandidateParent[]): number {
    if (this.#closed || this.#isForsaken) return 0;
    let count = 0;
    for (const candidate of candidates) {
      const { peerId, hostId } = candidate;
      // Who has lied is not asked again what pieces are.
      if (!this.#bannedHosts.has(hostId)) this.#learn(candidate.digests);
      if (hostId === this.#options.hostId || this.#parents.has(peerId)) continue;
      const host = this.#options.hosts.of(hostId);
      if (this.#dropped.has(peerId) || this.#bannedHosts.has(hostId) || host.isBanned) continue;
      if (this.#isResting(this.#idle.get(peerId))) continue;
      // A host that registered twice is one parent; and no scheduler makes us talk to everybody.
      if (this.#parents.size >= PARENTS_MAX || this.#hasParentOn(hostId)) continue;
      const { now, random } = this.#options;
      const parent = new Parent(candidate, { host, now, random });
      const stop = new AbortController();
      this.#parents.set(peerId, parent);
      this.#stops.set(parent, stop);
      this.#start(this.#follow(parent, stop.signal));
      count += 1;
    }
    return count;
  }

  /** A piece has been recorded. What the origin's reader says of it may have become known while it was on its way. */
  recorded(piece: PieceRecord): void {
    if (this.#isDenied(piece)) this.#deny([piece]);
  }

  /** What the origin's reader says of pieces counts for those, too, that came before it was known. */
  #learn(digests: CandidateParent["digests"]): void {
    const { pieces } = this.#options.task;
    for (const [number, told] of digests) this.#digests.set(number, told);
    const present = [...digests.keys()].map((number) => pieces.get(number));
    const denied = present
      .filter((piece) => piece !== undefined)
      .filter((piece) => this.#isDenied(piece));
    if (denied.length > 0) this.#deny(denied);
  }

  /** What we have read at the origin ourselves nobody knows better. */
  #isDenied(piece: PieceRecord): boolean {
    const told = this.#digests.get(piece.number);
    return told !== undefined && piece.parentId !== "" && contradict(piece, told);
  }

  /** Has them fetched anew, and from others than those who gave them. */
  #deny(pieces: readonly PieceRecord[]): void {
    this.#start(this.#options.task.deny(pieces));
    for (const parent of this.#parents.values()) {
      const { hostId } = parent.candidate;
      const piece = pieces.find(({ parentId }) => parentId === hostId);
      if (piece === undefined) continue;
      const message = `Cannot go on with parent ${hostId}: it gave piece ${piece.number} as ${piece.digest}, who read the origin says that it is something else`;
      this.#drop(parent, new TransportError("ERR_PROTOCOL", message));
    }
  }

  #hasParentOn(hostId: string): boolean {
    return [...this.#parents.values()].some(({ candidate }) => candidate.hostId === hostId);
  }

  /** More is wanted than before: parents are asked for that, too. */
  ask(): void {
    const wanted = this.#options.queue.unfinished();
    for (const parent of this.#parents.values()) {
      if (wanted.every((number) => parent.asked.has(number))) continue;
      this.#stops.get(parent)?.abort(new TransportError("ERR_CLOSED", "Asked anew"));
      const stop = new AbortController();
      this.#stops.set(parent, stop);
      this.#start(this.#follow(parent, stop.signal));
    }
  }

  /** Gives up for a while every parent from which nothing is coming at this moment. */
  dropIdle(reason: string): void {
    for (const parent of this.#parents.values()) {
      if (parent.inFlight > 0) continue;
      // It has not even said what it has: others need not wait for it as long.
      if (parent.address === undefined) parent.host.failed("silent");
      const message = `Cannot go on with parent ${parent.candidate.hostId}: ${reason}`;
      this.#drop(parent, new DaemonError("ERR_PARENT", message, { cause: parent.failure }), {
        isIdle: true,
      });
    }
  }

  get isForsaken(): boolean {
    return this.#isForsaken;
  }

  /** As `PieceFetches.giveUpAll`. */
  giveUpAll(): void {
    this.#fetches.giveUpAll();
  }

  /** Takes nothing from parents any more, neither from those there are nor from any that come: none of them has done wrong. */
  forsake(): void {
    this.#isForsaken = true;
    const message = "Cannot go on fetching: the file is read in one go";
    const reason = new TransportError("ERR_CLOSED", message);
    for (const [peerId, parent] of this.#parents) {
      this.#parents.delete(peerId);
      this.#options.queue.withdraw(parent);
      this.#stops.get(parent)?.abort(reason);
    }
    this.#fetches.stopAll(reason);
  }

  /** Starts as many fetches as the parents and the limit allow. */
  pump(): void {
    if (!this.#closed) this.#fetches.pump();
  }

  /** As `PieceFetches.watch`. */
  watch(offerOrigin: () => OriginOffer | undefined): void {
    if (!this.#closed) this.#fetches.watch(offerOrigin);
  }

  /** Stops everything; what is in flight is cancelled. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const reason = new TransportError(
      "ERR_CLOSED",
      "Cannot go on fetching: the download has ended",
    );
    for (const listening of this.#stops.values()) listening.abort(reason);
    await this.#fetches.close();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #start(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#options.events.broke(toError(error)))
      .finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  /** Listens to what a parent has, until it has told everything or goes. */
  async #follow(parent: Parent, signal: AbortSignal): Promise<void> {
    const { task, queue, channel, events } = this.#options;
    const pieceNumbers = queue.unfinished();
    parent.listening = true;
    parent.asked = new Set(pieceNumbers);
    try {
      const query = {
        taskId: task.facts.taskId,
        pieceNumbers,
        contentVersion: task.facts.contentVersion,
        sourceDigest: sourceDigestOf(task.facts),
        signal,
      };
      for await (const event of channel.syncPieces(parent.candidate, query)) {
        // Dropped while this was on its way: what it offers does not count any more.
        if (signal.aborted) return;
        if (event.kind === "address") {
          parent.address = event.address;
          parent.host.answered();
          continue;
        }
        if (event.kind === "leaving") {
          const message = `Cannot go on with parent ${parent.candidate.hostId}: it is being stopped`;
          this.#drop(parent, new DaemonError("ERR_PARENT", message));
          return;
        }
        this.#assertBounds(event);
        queue.offer(event.number, parent);
        events.changed();
      }
      parent.listening = false;
      this.#settle(parent);
    } catch (error) {
      if (!signal.aborted) this.#drop(parent, toError(error));
    }
  }

  /**
   * A parent that has told everything it has of what it was asked for: it is asked for what is wanted by now, and one that has nothing
   * left makes way. Else a download would wait for it, and ask nobody else.
   */
  #settle(parent: Parent): void {
    const { queue } = this.#options;
    const { peerId, hostId } = parent.candidate;
    if (this.#closed || parent.listening || parent.inFlight > 0) return;
    if (this.#parents.get(peerId) !== parent || queue.finished || queue.isHeldBy(parent)) return;
    if (queue.unfinished().some((number) => !parent.asked.has(number))) {
      this.#start(this.#follow(parent, this.#stops.get(parent)!.signal));
      return;
    }
    const message = `Cannot go on with parent ${hostId}: it has nothing left that it can give`;
    this.#drop(parent, new DaemonError("ERR_PARENT", message, { cause: parent.failure }));
  }

  #assertBounds(piece: {
    readonly number: number;
    readonly offset: number;
    readonly length: number;
  }): void {
    const { task } = this.#options;
    const bounds = piece.number < task.pieceCount ? task.bounds(piece.number) : undefined;
    if (bounds?.offset === piece.offset && bounds.length === piece.length) return;
    throw new TransportError(
      "ERR_PROTOCOL",
      `Cannot use parent: it says piece ${piece.number} is ${piece.length} bytes at ${piece.offset}, ` +
        (bounds === undefined
          ? `the task has ${task.pieceCount} pieces`
          : `expected ${bounds.length} at ${bounds.offset}`),
    );
  }

  #rest(candidate: CandidateParent): void {
    const before = this.#idle.get(candidate.peerId);
    const restMs = before === undefined ? IDLE_REST_MS : 2 * before.restMs;
    const untilMs = this.#options.now() + restMs;
    this.#idle.set(candidate.peerId, { candidate, restMs, untilMs });
  }

  #isResting(idle: IdleParent | undefined): boolean {
    return idle !== undefined && idle.untilMs > this.#options.now();
  }

  /**
   * Forgets a parent for the rest of this download, an idle one for a while; a liar's host with it. What is in flight from the others may
   * finish.
   */
  #drop(
    parent: Parent,
    error: Error,
    {
      isBanned = false,
      isIdle = false,
    }: { readonly isBanned?: boolean; readonly isIdle?: boolean } = {},
  ): void {
    const { queue, events, logger, task } = this.#options;
    const { peerId, hostId } = parent.candidate;
    if (this.#parents.get(peerId) !== parent) return;
    this.#parents.delete(peerId);
    if (isIdle) this.#rest(parent.candidate);
    else this.#dropped.set(peerId, parent.candidate);
    const code = codeOf(error);
    queue.withdraw(parent);
    if (isBanned || isLie(code)) {
      this.#bannedHosts.add(hostId);
      this.#fetches.distrust(parent);
    }
    // Another version of a file looks like a lie; wrong bytes are wrong in every task.
    if (isBanned) parent.host.ban();
    this.#stops.get(parent)?.abort(
      new TransportError("ERR_CLOSED", `Cannot go on with parent ${hostId}: it was dropped`, {
        cause: error,
      }),
    );
    logger.warn(
      { taskId: task.facts.taskId, parent: hostId, code },
      `parent dropped: ${messageOf(error)}`,
    );
    events.pieceFailed(undefined, parent.candidate);
    events.changed();
  }
}
