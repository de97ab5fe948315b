import { StorageError, type PieceRecord, type StoredTask } from "@damselfly/storage";
import { TransportError } from "@damselfly/transport";
import { codeOf } from "../code-of.ts";
import type { DataPlane } from "../data-plane/data-plane.ts";
import type { OriginSupplier, Supplier } from "../data-plane/relay/supplier.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { toError } from "../to-error.ts";
import type { PieceDigests } from "../piece-digests.ts";
import { judgeHedge, patienceWith, type Hedge, type HedgeReason } from "./judge-hedge.ts";
import type { CostTerms, Parent } from "./parent.ts";
import type { PieceQueue } from "./piece-queue.ts";
import { PieceRun, type Share, type Source } from "./piece-run.ts";

/**
 * Pieces in flight from one parent. More fill the pipe no better, but every piece in flight shares the parent's uplink with all the others:
 * with eight each, four children of a young seed have 32 pieces under way and for long not one to pass on.
 */
const PIECES_PER_PARENT_MAX = 4;
/** Failures in a row that a parent survives when the fault may be passing; and silences. */
const STRIKES_MAX = 2;
/** A parent offers what it has. One that does not announce it for so long never will. Milliseconds. */
export const UNANNOUNCED_MS_MAX = 30_000;
/** Between two looks at what is in flight; every change brings one, and there may be thousands a second. Milliseconds. */
const WATCH_MS = 200;
/** Times that somebody else is asked for a piece of a download: so many, and once for every so many pieces. */
const HEDGE_COUNT_MIN = 16;
const PIECES_A_HEDGE = 4;

/** The origin, as the task's pieces may be asked of it. */
export type OriginOffer = Omit<OriginSupplier, "id" | "kind">;

/** A piece is on disk and checked. */
export interface FetchedPiece {
  readonly record: PieceRecord;
  /** Whoever brought its end, if that is a parent; else a parent that brought some of it. Undefined: it came from the origin alone. */
  readonly parent: Parent | undefined;
  /** Bytes by who brought them. */
  readonly lengths: ReadonlyMap<Source, number>;
}

/** Who counts what hedging does, and costs. */
export interface HedgeTally {
  /** What does not come is asked of somebody else as well. */
  hedged(to: Hedge["to"], reason: HedgeReason | "broken"): void;
  /** Bytes come a second time. */
  doubled(length: number): void;
}

export interface PieceFetchesEvents extends HedgeTally {
  /** Something changed that may let the download go on. */
  changed(): void;
  /** Bytes arrived; undefined: from whom is not known any more. */
  progressed(length: number, source: Source | undefined): void;
  fetched(piece: FetchedPiece): void;
  /** A parent could not bring a piece. */
  failed(pieceNumber: number, parent: Parent): void;
  /** The origin could not bring the rest of a piece. */
  originFailed(error: Error): void;
  /** A parent is to be forgotten; `isBanned`: and its host left alone by all downloads for a while. */
  drop(parent: Parent, error: Error, about: { readonly isBanned: boolean }): void;
  /** A parent has one piece less in flight. */
  freed(parent: Parent): void;
  /** Our own disk, or data plane, failed: no parent can help. */
  broke(error: Error): void;
}

export interface PieceFetchesOptions {
  readonly task: StoredTask;
  readonly queue: PieceQueue<Parent>;
  readonly dataPlane: Pick<DataPlane, "fetchPiece">;
  /** Pieces in flight at once, over all parents. */
  readonly concurrentPieceCount: number;
  /** Those that there are at this moment. */
  readonly parents: () => readonly Parent[];
  /** What the origin's reader said pieces are. */
  readonly digests: ReadonlyMap<number, PieceDigests>;
  readonly logger: Logger;
  readonly now: () => number;
  readonly events: PieceFetchesEvents;
}

/** The pieces of one download that are in flight from parents: begins them, has others asked where they do not come, and says who failed. */
export class PieceFetches {
  readonly #options: PieceFetchesOptions;
  readonly #runs = new Set<PieceRun>();
  /** Pieces that came wrong from several sources, nobody knows whose fault that was: from now on they come from one. */
  readonly #unmixable = new Set<number>();
  readonly #working = new Set<Promise<void>>();
  #hedgeCount = 0;
  #watchedMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(options: PieceFetchesOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#runs.size;
  }

  get runs(): ReadonlySet<PieceRun> {
    return this.#runs;
  }

  /** Pieces whose rests the origin is asked for. */
  get originCount(): number {
    return [...this.#runs].filter(({ asked }) => asked.includes("origin")).length;
  }

  /** Begins as many as the parents and the limit allow. */
  pump(): void {
    const { queue, concurrentPieceCount } = this.#options;
    const terms = this.#terms();
    while (!this.#isClosed && this.#runs.size < concurrentPieceCount) {
      // As at most changes: to find that out piece by piece takes long where there are thousands.
      const isFree = (parent: Parent): boolean =>
        parent.cost({ ...terms, isAlone: true }) !== undefined;
      if (!this.#options.parents().some(isFree)) return;
      const taken = queue.take((parent, isAlone) => parent.cost({ ...terms, isAlone }));
      if (taken === undefined) return;
      this.#start(taken.number, taken.source);
    }
  }

  /**
   * Looks whether what is in flight comes, and has it asked of others if not: a few times a second, however often it is called.
   *
   * @param offerOrigin asked when it is time to look; undefined: it may not be asked at this moment
   */
  watch(offerOrigin: () => OriginOffer | undefined): void {
    const nowMs = this.#options.now();
    if (nowMs - this.#watchedMs < WATCH_MS) return;
    this.#watchedMs = nowMs;
    const origin = offerOrigin();
    const runs = [...this.#runs].toSorted((one, other) => other.silentMs - one.silentMs);
    for (const run of runs) {
      run.look();
      const view = run.view();
      if (run.isFetched && view.silentMs >= patienceWith(view)) this.#fellSilent(run);
      if (!view.isAnnounced && view.silentMs >= UNANNOUNCED_MS_MAX) this.#giveUp(run);
      else if (run.isFetched) this.#hedgeIfDue(run, origin);
    }
  }

  /** Ends what is in flight and waits for the network. Those of whom it was asked are not asked for it again. */
  giveUpAll(): void {
    for (const run of this.#runs) {
      if (run.isFetched && !run.stop.signal.aborted && run.view().isStarved) this.#giveUp(run);
    }
  }

  /** Ends what is in flight; it is nobody's fault. */
  stopAll(reason: Error): void {
    for (const { stop } of this.#runs) stop.abort(reason);
  }

  /** A parent has lied: nothing of what it has brought of pieces in flight can be relied on. */
  distrust(parent: Parent): void {
    for (const run of this.#runs)
      if (run.tried.has(parent)) run.stop.abort(closed("a parent of it has lied"));
  }

  /** Ends everything that is in flight. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { stop } of this.#runs) stop.abort(closed("the download has ended"));
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  #terms(): CostTerms {
    const { queue, task } = this.#options;
    const parents = this.#options.parents();
    const share = Math.ceil((2 * this.#options.concurrentPieceCount) / Math.max(parents.length, 1));
    const rates = parents.map(({ goodput = 0 }) => goodput);
    const sum = rates.reduce((one, other) => one + other, 0);
    const { pieceLength } = task.facts;
    return {
      inFlightMax: Math.max(2, Math.min(PIECES_PER_PARENT_MAX, share)),
      fastest: Math.max(0, ...rates),
      restMs: sum === 0 ? Infinity : (queue.missingCount * pieceLength) / sum,
      pieceLength,
    };
  }

  #start(pieceNumber: number, parent: Parent): void {
    const work = this.#fetch(pieceNumber, parent)
      .catch((error: unknown) => this.#options.events.broke(toError(error)))
      .finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  async #fetch(number: number, parent: Parent): Promise<void> {
    const { task, dataPlane, events, digests, now } = this.#options;
    const run: PieceRun = new PieceRun({
      number,
      length: task.bounds(number).length,
      isMixable: parent.isMixable && !this.#unmixable.has(number),
      now,
      events: {
        progressed: (length, source) => events.progressed(length, source),
        tookOver: ({ left, doubled }) => {
          if (left !== undefined) measure(left, { isWhole: false });
          if (doubled > 0) events.doubled(doubled);
          events.changed();
        },
        failed: (source, error) => this.#sourceFailed(run, source, error),
        changed: () => events.changed(),
      },
    });
    const expected = digests.get(number);
    run.ask(parent);
    this.#runs.add(run);
    try {
      const record = await dataPlane.fetchPiece({
        task,
        pieceNumber: number,
        parent: parent.address!,
        ...(expected && { expected }),
        signal: run.stop.signal,
        onBytes: (length) => run.received(length),
        hedging: run,
      });
      // Else it has been withdrawn already, denied by who read the origin: it is wanted again.
      if (task.pieces.get(number) === record) this.#fetched(run, record);
    } catch (error) {
      this.#broken(run, parent, toError(error));
    } finally {
      run.end();
      this.#runs.delete(run);
      for (const source of run.tried) if (source !== "origin") events.freed(source);
      events.changed();
    }
  }

  #fetched(run: PieceRun, record: PieceRecord): void {
    const { queue, events } = this.#options;
    const last = run.end();
    if (last !== undefined) measure(last, { isWhole: true });
    queue.done(run.number);
    const sources = [last?.source, ...run.lengths.keys()];
    const parent = sources.find((source) => source !== undefined && source !== "origin");
    events.fetched({
      record,
      parent: record.trafficType === "BACK_TO_SOURCE" ? undefined : parent,
      lengths: run.lengths,
    });
  }

  #broken(run: PieceRun, first: Parent, error: Error): void {
    const { queue, events } = this.#options;
    queue.fail(run.number);
    if (this.#isClosed || run.stop.signal.aborted) return;
    if (isOurs(error)) events.broke(error);
    else if (error instanceof StorageError) this.#cameWrong(run, error);
    // Else every source has been told of, unless something is wrong that nobody has thought of.
    else if (run.failureCount === 0) this.#sourceFailed(run, run.source ?? first, error);
  }

  /** Wrong bytes. Of several who brought them nobody knows who it was: the piece comes again, from one alone, who can be blamed. */
  #cameWrong(run: PieceRun, error: StorageError): void {
    const { queue, events, logger, task } = this.#options;
    const sources = [...run.lengths.keys()];
    const parents = sources.filter((source) => source !== "origin");
    const [parent] = parents;
    if (parent === undefined) return;
    if (sources.length === 1) {
      queue.refuse(run.number, parent);
      events.failed(run.number, parent);
      events.drop(parent, error, { isBanned: true });
      return;
    }
    this.#unmixable.add(run.number);
    for (const suspect of parents) suspect.isMixable = false;
    logger.warn(
      { taskId: task.facts.taskId, piece: run.number, from: sources.map(nameOfSource) },
      `piece ${run.number} came from several and is wrong, it is fetched again from one alone: ${messageOf(error)}`,
    );
  }

  /** A source has failed with a piece. Returns who is to go on with it, if there are bytes to go on from. */
  #sourceFailed(run: PieceRun, source: Source, error: Error): Supplier | undefined {
    if (this.#isClosed || run.stop.signal.aborted || isOurs(error)) return undefined;
    if (source === "origin") this.#options.events.originFailed(error);
    else this.#parentFailed(run, source, error);
    const isBegun = run.position > 0 && run.position < run.length;
    if (!isBegun || run.asked.length > 0 || !this.#mayHedge(run)) return undefined;
    const other = this.#bestFor(run);
    return other === undefined ? undefined : this.#hedge(run, other, "broken");
  }

  #parentFailed(run: PieceRun, parent: Parent, error: Error): void {
    const { queue, events, logger, task } = this.#options;
    const code = codeOf(error);
    if (code === "ERR_PARENT_BUSY") {
      // Timers may be early by a part of a millisecond, and a look that comes too soon changes nothing.
      setTimeout(() => events.changed(), Math.ceil(parent.pause()) + 1).unref();
      return;
    }
    const { hostId } = parent.candidate;
    const fields = { taskId: task.facts.taskId, piece: run.number, parent: hostId, code };
    if (code === "ERR_SUPPLIERS_DIFFER") {
      logger.warn(fields, messageOf(error));
      return;
    }
    queue.refuse(run.number, parent);
    parent.failure = error;
    logger.warn(fields, `piece failed: ${messageOf(error)}`);
    events.failed(run.number, parent);
    if (code === "ERR_PIECE_NOT_FOUND") return;
    parent.strikes += 1;
    if (code === "ERR_PARENT_UNREACHABLE") parent.host.failed("unreachable");
    if (code === "ERR_PARENT_STALLED") parent.host.failed("silent");
    // What fails at one piece may do at another: what is in flight from such a parent may finish.
    const forgivable = code === "ERR_PIECE_TRUNCATED" || code === "ERR_PARENT_FAILED";
    if (forgivable && parent.strikes <= STRIKES_MAX) return;
    if (forgivable) parent.host.failed("broken");
    // What contradicts the origin's reader may be another version of the file, or the reader may be wrong: that is between the two of them. A
    // host whose certificate is nobody's is no better elsewhere.
    events.drop(parent, error, { isBanned: code === "ERR_PARENT_UNTRUSTED" });
  }

  #hedgeIfDue(run: PieceRun, origin: OriginOffer | undefined): void {
    if (!this.#mayHedge(run)) return;
    const parent = this.#bestFor(run);
    const view = run.view();
    const hedge = judgeHedge(view, {
      parent: parent && { rate: parent.rateOfNext },
      origin: origin !== undefined && !run.tried.has("origin"),
      isTail: this.#options.queue.missingCount === 0,
    });
    if (hedge === undefined) return;
    // With less patience than `watch` has.
    if (hedge.reason !== "crawled" && view.silentMs < patienceWith(view)) this.#fellSilent(run);
    if (!run.isMixable && run.position > 0) {
      // Nobody may go on with it: it begins again elsewhere.
      if (hedge.reason !== "crawled") this.#giveUp(run);
    } else if (hedge.to === "origin") {
      run.hedge(this.#hedge(run, origin!, hedge.reason));
    } else {
      run.hedge(this.#hedge(run, parent!, hedge.reason));
    }
  }

  #mayHedge(run: PieceRun): boolean {
    const countMax = HEDGE_COUNT_MIN + Math.ceil(this.#options.task.pieceCount / PIECES_A_HEDGE);
    return !this.#isClosed && !run.stop.signal.aborted && this.#hedgeCount < countMax;
  }

  /** Has the next source of a piece counted and told of. */
  #hedge(run: PieceRun, to: Parent | OriginOffer, reason: HedgeReason | "broken"): Supplier {
    const { events, logger, task } = this.#options;
    const isOrigin = "request" in to;
    const from = run.source ?? run.asked.at(-1);
    this.#hedgeCount += 1;
    run.hedgeCount += 1;
    events.hedged(isOrigin ? "origin" : "parent", reason);
    logger.info(
      {
        taskId: task.facts.taskId,
        piece: run.number,
        from: from && nameOfSource(from),
        to: isOrigin ? "origin" : to.candidate.hostId,
        offset: run.position,
        reason,
      },
      `piece ${run.number} ${WORDS[reason]}${from === undefined ? "" : ` (${nameOfSource(from)})`}: asking ${isOrigin ? "the origin" : to.candidate.hostId} for it from byte ${run.position} on`,
    );
    return isOrigin
      ? { ...to, id: run.ask("origin"), kind: "origin" }
      : { id: run.ask(to), kind: "parent", address: to.address! };
  }

  /** The best parent that offers the piece, has not been asked for it, and may be asked now. */
  #bestFor(run: PieceRun): Parent | undefined {
    const terms = this.#terms();
    let best: { readonly parent: Parent; readonly cost: number } | undefined;
    for (const parent of this.#options.queue.holders(run.number)) {
      if (run.tried.has(parent) || (!parent.isMixable && run.position > 0)) continue;
      const cost = parent.cost(terms);
      if (cost !== undefined && cost < (best?.cost ?? Infinity)) best = { parent, cost };
    }
    return best?.parent;
  }

  /** Nothing comes: whoever it is asked of gets nothing more to do for a while, and is forgotten if that happens again and again. */
  #fellSilent(run: PieceRun): void {
    const sources = run.source === undefined ? run.asked : [run.source];
    for (const parent of sources) {
      if (parent === "origin") continue;
      const count = parent.fellSilent(run.askedMsOf(parent) ?? run.startedMs);
      if (count > STRIKES_MAX)
        this.#options.events.drop(parent, stalled(run, parent), { isBanned: false });
    }
  }

  #giveUp(run: PieceRun): void {
    const { queue, events, logger, task } = this.#options;
    for (const parent of run.asked) {
      if (parent === "origin") continue;
      const error = stalled(run, parent);
      queue.refuse(run.number, parent);
      parent.failure = error;
      logger.warn(
        { taskId: task.facts.taskId, piece: run.number, parent: parent.candidate.hostId },
        `piece failed: ${messageOf(error)}`,
      );
      events.failed(run.number, parent);
    }
    run.stop.abort(closed("nothing came of it"));
  }
}

const WORDS: Readonly<Record<HedgeReason | "broken", string>> = {
  unannounced: "is not announced",
  silent: "has fallen silent",
  crawled: "crawls",
  broken: "broke off",
};

function measure(
  { source, length, durationMs, concurrency }: Share,
  { isWhole }: { readonly isWhole: boolean },
): void {
  if (source === "origin" || length === 0) return;
  source.measured({ length, durationMs, concurrency, isWhole });
}

export function nameOfSource(source: Source): string {
  return source === "origin" ? source : source.candidate.hostId;
}

/** Who says what is not so, or is not who he says he is. */
export function isLie(code: string): boolean {
  return code === "ERR_PROTOCOL" || code === "ERR_PARENT_UNTRUSTED";
}

function stalled(run: PieceRun, { candidate }: Parent): TransportError {
  const { number, silentMs, position, length } = run;
  const seconds = Math.round(silentMs / 1000);
  const what =
    seconds > 0
      ? `nothing came of it for ${seconds} s`
      : `hardly anything comes of it, ${position} of ${length} bytes so far`;
  return new TransportError(
    "ERR_PARENT_STALLED",
    `Cannot download piece ${number} from ${candidate.hostId}: ${what}`,
  );
}

function closed(why: string): TransportError {
  return new TransportError("ERR_CLOSED", `Cannot go on fetching: ${why}`);
}

/** Our own disk has failed, or our own data plane: nobody else can help. */
function isOurs(error: Error): boolean {
  const code = codeOf(error);
  if (code === "ERR_DATA_PLANE" || code === "ERR_DATA_PLANE_LOST") return true;
  return (
    error instanceof StorageError && code !== "ERR_DIGEST_MISMATCH" && code !== "ERR_PIECE_LENGTH"
  );
}
