import { StorageError, type PieceRecord, type StoredTask } from "@damselfly/storage";
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
import type { PieceQueue } from "./piece-queue.ts";

/** Failures in a row that a parent survives when the fault may be passing. */
const STRIKES_MAX = 2;

/**
 * Pieces in flight from one parent. More fill the pipe no better, but every piece in flight shares the parent's uplink with all the others:
 * with eight each, four children of a young seed have 32 pieces under way and for long not one to pass on.
 */
const PIECES_PER_PARENT_MAX = 4;

/** Parents of one download at once, each with a stream that tells its pieces. */
const PARENTS_MAX = 64;

export interface SwarmOptions {
  readonly task: StoredTask;
  readonly queue: PieceQueue<Parent>;
  readonly dataPlane: DataPlane;
  readonly channel: ParentChannel;
  /** Our own host id: we are never our own parent. */
  readonly hostId: string;
  /** Pieces in flight at once, over all parents. */
  readonly concurrentPieceCount: number;
  readonly logger: Logger;
  readonly now: () => number;
  readonly random: () => number;
  readonly events: SwarmEvents;
}

export interface SwarmEvents {
  /** Something changed that may let the download go on: a piece came or failed, a parent came or went. */
  changed(): void;
  /** Bytes arrived. */
  progressed(length: number): void;
  pieceFinished(piece: PieceRecord, parent: CandidateParent): void;
  pieceFailed(pieceNumber: number | undefined, parent: CandidateParent): void;
  /** Our own disk failed: no parent can help. */
  broke(error: Error): void;
}

/** The parents of one download: learns what each has, fetches from them all at once, and drops those that fail. */
export class Swarm implements AsyncDisposable {
  readonly #options: SwarmOptions;
  readonly #parents = new Map<string, Parent>();
  /** Ends listening to a parent, and what is in flight from it. */
  readonly #stops = new Map<
    Parent,
    { listening: AbortController; readonly fetching: AbortController }
  >();
  /** By peer id: dropped for the rest of this download. */
  readonly #dropped = new Map<string, CandidateParent>();
  readonly #bannedHosts = new Set<string>();
  readonly #digests = new Map<number, string>();
  readonly #running = new Set<Promise<void>>();
  #inFlight = 0;
  #closed = false;

  constructor(options: SwarmOptions) {
    this.#options = options;
  }

  get parentCount(): number {
    return this.#parents.size;
  }

  /** Pieces in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Parents that have been of no use: a scheduler need not name them again. */
  get dropped(): CandidateParent[] {
    return [...this.#dropped.values()];
  }

  /** Parents that are still of use. */
  get candidates(): CandidateParent[] {
    return [...this.#parents.values()].map((parent) => parent.candidate);
  }

  /** Takes up parents not known yet, and whatever is new about the digests of pieces. Returns how many parents were new. */
  add(candidates: readonly CandidateParent[]): number {
    if (this.#closed) return 0;
    let count = 0;
    for (const candidate of candidates) {
      for (const [number, digest] of candidate.digests) this.#digests.set(number, digest);
      const { peerId, hostId } = candidate;
      if (hostId === this.#options.hostId || this.#parents.has(peerId)) continue;
      if (this.#dropped.has(peerId) || this.#bannedHosts.has(hostId)) continue;
      // A host that registered twice is one parent; and no scheduler makes us talk to everybody.
      if (this.#parents.size >= PARENTS_MAX || this.#hasParentOn(hostId)) continue;
      const parent = new Parent(candidate, this.#options.now);
      const stop = { listening: new AbortController(), fetching: new AbortController() };
      this.#parents.set(peerId, parent);
      this.#stops.set(parent, stop);
      this.#start(this.#follow(parent, stop.listening.signal));
      count += 1;
    }
    return count;
  }

  #hasParentOn(hostId: string): boolean {
    return [...this.#parents.values()].some(({ candidate }) => candidate.hostId === hostId);
  }

  /** More is wanted than before: parents are asked for that, too. */
  ask(): void {
    const wanted = this.#options.queue.unfinished();
    for (const parent of this.#parents.values()) {
      if (wanted.every((number) => parent.asked.has(number))) continue;
      const stop = this.#stops.get(parent)!;
      stop.listening.abort(new TransportError("ERR_CLOSED", "Asked anew"));
      stop.listening = new AbortController();
      this.#start(this.#follow(parent, stop.listening.signal));
    }
  }

  /** Gives up every parent from which nothing is coming at this moment. */
  dropIdle(reason: string): void {
    for (const parent of this.#parents.values()) {
      if (parent.inFlight > 0) continue;
      const message = `Cannot go on with parent ${parent.candidate.hostId}: ${reason}`;
      this.#drop(parent, new DaemonError("ERR_PARENT", message, { cause: parent.failure }));
    }
  }

  /** Starts as many fetches as the parents and the limit allow. */
  pump(): void {
    const { queue, concurrentPieceCount, random } = this.#options;
    const share = Math.ceil((2 * concurrentPieceCount) / Math.max(this.#parents.size, 1));
    const inFlightMax = Math.max(2, Math.min(PIECES_PER_PARENT_MAX, share));
    while (!this.#closed && this.#inFlight < concurrentPieceCount) {
      const taken = queue.take((parent) => parent.cost({ inFlightMax, random }));
      if (taken === undefined) return;
      this.#start(this.#fetch(taken.number, taken.source));
    }
  }

  /** Stops everything; what is in flight is cancelled. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const reason = new TransportError(
      "ERR_CLOSED",
      "Cannot go on fetching: the download has ended",
    );
    for (const { listening, fetching } of this.#stops.values()) {
      listening.abort(reason);
      fetching.abort(reason);
    }
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
        if (event.kind === "address") {
          parent.address = event.address;
          continue;
        }
        if (event.kind === "leaving") {
          const message = `Cannot go on with parent ${parent.candidate.hostId}: it is being stopped`;
          this.#drop(parent, new DaemonError("ERR_PARENT", message), { finishing: true });
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
      this.#start(this.#follow(parent, this.#stops.get(parent)!.listening.signal));
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

  async #fetch(pieceNumber: number, parent: Parent): Promise<void> {
    const { task, queue, dataPlane, events, now } = this.#options;
    const expectedDigest = this.#digests.get(pieceNumber);
    this.#inFlight += 1;
    parent.inFlight += 1;
    const concurrency = parent.inFlight;
    const startMs = now();
    try {
      const piece = await dataPlane.fetchPiece({
        task,
        pieceNumber,
        parent: parent.address!,
        ...(expectedDigest === undefined ? {} : { expectedDigest }),
        signal: this.#stops.get(parent)!.fetching.signal,
        onBytes: (length) => events.progressed(length),
      });
      parent.measured({ length: piece.length, durationMs: now() - startMs, concurrency });
      queue.done(pieceNumber);
      events.pieceFinished(piece, parent.candidate);
    } catch (error) {
      this.#failed(pieceNumber, parent, toError(error));
    } finally {
      this.#inFlight -= 1;
      parent.inFlight -= 1;
      this.#settle(parent);
      events.changed();
    }
  }

  #failed(pieceNumber: number, parent: Parent, error: Error): void {
    const { queue, events, logger } = this.#options;
    const code = codeOf(error);
    if (isOurs(error)) {
      queue.fail(pieceNumber);
      events.broke(error);
      return;
    }
    if (code === "ERR_PARENT_BUSY") {
      queue.fail(pieceNumber);
      setTimeout(() => events.changed(), parent.pause() + 1).unref();
      return;
    }
    queue.fail(pieceNumber, parent);
    parent.failure = error;
    if (this.#closed || this.#stops.get(parent)?.fetching.signal.aborted === true) return;
    logger.warn(
      {
        taskId: this.#options.task.facts.taskId,
        piece: pieceNumber,
        parent: parent.candidate.hostId,
        code,
      },
      `piece failed: ${messageOf(error)}`,
    );
    events.pieceFailed(pieceNumber, parent.candidate);
    if (code === "ERR_PIECE_NOT_FOUND") return;
    parent.strikes += 1;
    // What fails at one piece may do at another: what is in flight from such a parent may finish.
    const forgivable = code === "ERR_PIECE_TRUNCATED" || code === "ERR_PARENT_FAILED";
    if (!forgivable) this.#drop(parent, error);
    else if (parent.strikes > STRIKES_MAX) this.#drop(parent, error, { finishing: true });
  }

  /** Forgets a parent for the rest of this download; a liar's host with it. */
  #drop(
    parent: Parent,
    error: Error,
    { finishing = false }: { readonly finishing?: boolean } = {},
  ): void {
    const { queue, events, logger, task } = this.#options;
    const { peerId, hostId } = parent.candidate;
    if (this.#parents.get(peerId) !== parent) return;
    this.#parents.delete(peerId);
    this.#dropped.set(peerId, parent.candidate);
    const code = codeOf(error);
    if (error instanceof StorageError || code === "ERR_PROTOCOL" || code === "ERR_PARENT_UNTRUSTED")
      this.#bannedHosts.add(hostId);
    queue.withdraw(parent);
    const reason = new TransportError(
      "ERR_CLOSED",
      `Cannot go on with parent ${hostId}: it was dropped`,
      { cause: error },
    );
    this.#stops.get(parent)?.listening.abort(reason);
    if (!finishing) this.#stops.get(parent)?.fetching.abort(reason);
    logger.warn(
      { taskId: task.facts.taskId, parent: hostId, code },
      `parent dropped: ${messageOf(error)}`,
    );
    events.pieceFailed(undefined, parent.candidate);
    events.changed();
  }
}

/** Our own disk has failed, or our own data plane: nobody else can help. */
function isOurs(error: Error): boolean {
  const code = codeOf(error);
  if (code === "ERR_DATA_PLANE" || code === "ERR_DATA_PLANE_LOST") return true;
  return (
    error instanceof StorageError && code !== "ERR_DIGEST_MISMATCH" && code !== "ERR_PIECE_LENGTH"
  );
}
