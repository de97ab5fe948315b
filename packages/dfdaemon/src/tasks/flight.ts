import { setMaxListeners } from "node:events";
import { StorageError, type PieceRecord, type StoredTask } from "@damselfly/storage";
import { DEFAULT_DOWNLOADER_TIMEOUTS } from "@damselfly/transport";
import { codeOf } from "../code-of.ts";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { DaemonError } from "../errors.ts";
import { jitter } from "../jitter.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { OriginGuard } from "../origins/origin-guard.ts";
import type { OriginRequest } from "../origins/origin.ts";
import type { ParentChannel } from "../parents/parent-channel.ts";
import type { ParentHosts } from "../parents/parent-host.ts";
import type { Parent } from "../parents/parent.ts";
import {
  type FetchedPiece,
  type HedgeTally,
  type OriginOffer,
  UNANNOUNCED_MS_MAX,
} from "../parents/piece-fetches.ts";
import { PieceQueue } from "../parents/piece-queue.ts";
import { Swarm } from "../parents/swarm.ts";
import { pause } from "../pause.ts";
import { steadyNow } from "../steady-now.ts";
import { toError } from "../to-error.ts";
import type {
  CandidateParent,
  PeerRegistration,
  PeerSession,
  ScheduleEvent,
  SchedulerLink,
} from "../scheduling/scheduler-link.ts";
import type { FlightLimits } from "./flight-limits.ts";
import { type FlightReport, reportParent, reportRun } from "./flight-report.ts";
import {
  describeWait,
  MOVING_MS,
  type ParentsWaitView,
  type SchedulerWaitView,
  viewOfRun,
} from "./flight-wait.ts";
import { isProvable, OriginMoved, OriginReader } from "./origin-reader.ts";
import { OriginPause } from "./origin-pause.ts";
import { RateWindow } from "./rate-window.ts";
import { isRefusal, statusOf } from "./scheduler-refusal.ts";
import { formatWait, type Wait, type WaitReason } from "./wait.ts";

export interface FlightOptions {
  readonly task: StoredTask;
  readonly registration: PeerRegistration;
  readonly originRequest: OriginRequest;
  readonly rangeable: boolean;
  readonly dataPlane: DataPlane;
  /** Knows when the origin is left alone; absent: it never is. */
  readonly guard?: FlightGuard | undefined;
  /** Absent: no scheduler at all, the origin is asked at once. */
  readonly scheduler?: SchedulerLink;
  /** Why there is none, for the log. */
  readonly withoutScheduler?: string;
  readonly channel: ParentChannel;
  readonly hostId: string;
  /** What this daemon knows of the hosts of parents. */
  readonly hosts: ParentHosts;
  readonly limits: FlightLimits;
  readonly logger: Logger;
  readonly observer?: FlightObserver;
  /** Milliseconds, of a clock that does not go back; default `steadyNow`. */
  readonly now?: () => number;
  readonly random?: () => number;
}

export type FlightGuard = Pick<OriginGuard, "watch" | "mayAsk" | "noteFailure">;

/** Who counts what comes in. */
export interface FlightObserver extends Partial<HedgeTally> {
  /** Bytes arrived; not checked yet. */
  bytes(length: number): void;
  /** A piece is on disk and checked; so many bytes of it came from the origin, though it may count as a parent's. */
  piece(piece: PieceRecord, originLength: number): void;
}

/** The scheduler's patience with a reader of the origin: 4 MiB a second. */
const ORIGIN_BYTES_PER_MS_MIN = (4 << 20) / 1000;
/** Parents that make a mesh; Dragonfly's scheduler names three at most, and at first often one. */
const PARENTS_WANTED = 4;
const WIDEN_MAX_MS = 30_000;
/** Between two looks at everything, at most; longer is this process's own fault. Milliseconds. */
const STEP_MS = 250;
const STEP_MS_MAX = 2 * STEP_MS;
/** Of what parents offer and do not bring, so many pieces at once are read at the origin: the parents may only be slow. */
const OFFERED_AT_ORIGIN_MAX = 2;
/** Before a scheduler that was lost is registered with again, at first; it doubles. Milliseconds. */
const SESSION_PAUSE_MS = 500;
const SESSION_PAUSE_MS_MAX = 15_000;
/** Between two calls for help, at first; it doubles. Milliseconds. */
const HELP_MS = 5_000;
const HELP_MS_MAX = 60_000;
/** A rate is one over so long. Milliseconds. */
const RATE_MS = 15_000;
/** What is left would take at least so long at the present rate: only then it is said to crawl. Milliseconds. */
const CRAWL_LEFT_MS = 60_000;

/** Who waits longer is told of in the log. Milliseconds. */
const WAIT_LOGGED_MS = 5_000;
/** What a download may wait for without anything else being done about it: see the transports, `PieceFetches` and the data plane. */
const WAIT_BOUNDS = {
  announcementMs: UNANNOUNCED_MS_MAX,
  contentMs: DEFAULT_DOWNLOADER_TIMEOUTS.stallMs,
  diskMs: 120_000,
  dataPlaneMs: 30_000,
};
/** What still runs when a download ends is not waited for any longer: a disk that hangs may never come back. Milliseconds. */
const CLOSE_MS = 10_000;

/** Where the bytes of a flight came from. */
export interface FlightTally {
  originBytes: number;
  readonly bytesByParent: Map<string, number>;
}

/**
 * One download of one task, however many ask for it: a state machine driven by `#step`, which runs whenever something has changed.
 *
 * Sources, in the order they are turned to: parents that the scheduler named; the origin, when the scheduler sends us there, or when
 * there is neither a parent nor a scheduler left. Nobody left at all is `ERR_NO_SOURCE`.
 */
export class Flight {
  readonly task: StoredTask;
  readonly tally: FlightTally = { originBytes: 0, bytesByParent: new Map() };
  readonly #options: FlightOptions;
  readonly #queue: PieceQueue<Parent>;
  readonly #swarm: Swarm;
  /** Ends what fetches. */
  readonly #work = new AbortController();
  /** Ends the conversation with the scheduler, which outlives the fetching by its last word. */
  readonly #talk = new AbortController();
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #rate: RateWindow;
  #reader: OriginReader | undefined;
  #readerSinceMs = 0;
  /** The origin has asked to be left alone, or is left alone before another try. */
  readonly #originPause = new OriginPause();
  /** The scheduler has sent us to the origin: nobody else is there, or it is known who. */
  #hasTurn = false;
  #session: PeerSession | undefined;
  /** When the scheduler was lost, and has not answered since; a first contact that fails counts as lost long ago. */
  #sessionLostMs: number | undefined;
  #hadSession = false;
  /** When the scheduler was asked for something it has not answered. */
  #askedMs: number | undefined;
  /** When it last said anything. */
  #answeredMs = 0;
  /** No sooner is the scheduler asked again, and how long that was after the last time. */
  #askAgainMs = 0;
  #askPauseMs = 0;
  /** What it was asked for is more than what is needed. */
  #askedForMore = false;
  /** It was asked because what its parents have does not come. */
  #askedForHelp = false;
  /** No sooner is it asked for help again, and how long that is after the last time. */
  #helpAgainMs = Number.NEGATIVE_INFINITY;
  #helpPauseMs = 0;
  /** No sooner is the origin asked for the rest of a piece. */
  #originHedgeAgainMs = Number.NEGATIVE_INFINITY;
  /** No sooner is it asked for more parents, and how long that is after the last time. */
  #widenAgainMs = Number.POSITIVE_INFINITY;
  #widenPauseMs = 0;
  readonly #startedMs: number;
  #progressMs: number;
  /** For how long nothing has made progress, as far as this process got to look. */
  #stillMs = 0;
  /** When it last looked. */
  #stepMs: number;
  /** When a byte last came; the start, if none has. */
  #movedMs: number;
  /** For how long none has come, as far as this process got to look. */
  #unmovedMs = 0;
  /** When the last piece was whole, or else the origin turned to. */
  #pieceMs = 0;
  /** When a parent was last named. */
  #namedMs: number;
  /** Bytes that have come, whatever became of them. */
  #received = 0;
  /** The wait that has been logged. */
  #loggedWait: WaitReason | undefined;
  /** When our turn at the origin was last renewed; undefined while it is none that can be. */
  #renewedMs: number | undefined;
  /** What the scheduler of the present session has been told. */
  #told = new Set<"parents" | "origin">();
  /** Answers of the scheduler in a row that brought neither a new parent nor, since then, a piece. */
  #fruitlessCount = 0;
  #originError: Error | undefined;
  #fatal: Error | undefined;
  #wake: () => void = () => {};
  #woken = false;
  #over = false;

  constructor(options: FlightOptions) {
    this.#options = options;
    // As many listen as there are pieces in flight: that is no leak.
    setMaxListeners(0, this.#work.signal);
    this.task = options.task;
    this.#now = options.now ?? steadyNow;
    this.#startedMs = this.#now();
    this.#progressMs = this.#startedMs;
    this.#stepMs = this.#startedMs;
    this.#movedMs = this.#startedMs;
    this.#namedMs = this.#startedMs;
    this.#rate = new RateWindow(RATE_MS, this.#startedMs);
    const random = options.random ?? Math.random;
    this.#random = random;
    this.#queue = new PieceQueue({ random });
    this.#swarm = new Swarm({
      task: options.task,
      queue: this.#queue,
      dataPlane: options.dataPlane,
      channel: options.channel,
      hostId: options.hostId,
      hosts: options.hosts,
      concurrentPieceCount: options.limits.concurrentPieceCount,
      logger: options.logger,
      now: this.#now,
      random,
      events: {
        changed: () => this.#changed(),
        progressed: (length, source) => {
          this.#progressed(length);
          if (source === "origin") this.#renewLease();
        },
        fetched: (piece) => this.#pieceFetched(piece),
        pieceFailed: (number, parent) => this.#session?.pieceFailed(number, parent),
        originFailed: (error) => this.#originHedgeFailed(error),
        hedged: (to, reason) => options.observer?.hedged?.(to, reason),
        doubled: (length) => options.observer?.doubled?.(length),
        broke: (error) => this.#break(error),
      },
    });
  }

  /** Nothing that is wanted from now on will be fetched. */
  get over(): boolean {
    return this.#over;
  }

  /** Adds pieces to fetch; those on disk are not fetched again. */
  want(pieceNumbers: Iterable<number>): void {
    for (const number of pieceNumbers) if (!this.task.pieces.has(number)) this.#queue.want(number);
    this.#swarm.ask();
    this.#changed();
  }

  /** What it waits for; undefined: something moves, or it is over. Times are those of the clock that was given. */
  wait(): Wait | undefined {
    const nowMs = this.#now();
    // Asked often, and there is something to look through.
    if (this.#over || nowMs - this.#movedMs < MOVING_MS) return undefined;
    return describeWait({
      nowMs,
      movedMs: this.#movedMs,
      pieces: [...this.#swarm.runs].map(viewOfRun),
      origin: this.#reader && {
        inFlight: this.#reader.inFlight,
        bodies: this.#reader.bodies,
        sinceMs: this.#readerSinceMs,
        pause: this.#originPause.at(nowMs),
      },
      parents: this.#viewOfParents(),
      scheduler: this.#viewOfScheduler(nowMs),
      bounds: WAIT_BOUNDS,
    });
  }

  /** How it gets on, for people. */
  report(): FlightReport {
    const nowMs = this.#now();
    const { originBytes, bytesByParent } = this.tally;
    return {
      startedMs: this.#startedMs,
      receivedLength: this.#received,
      rate: this.#rate.rate(nowMs),
      scheduler: this.#session?.schedulerName,
      origin: this.#reader && {
        byteCount: originBytes,
        inFlight: this.#reader.inFlight + this.#swarm.inFlightAtOrigin,
      },
      parents: this.#swarm.parents.map((parent) => reportParent(parent, nowMs)),
      bytesByParent,
      pieces: [...this.#swarm.runs].map(reportRun),
    };
  }

  /** Ends the flight; what is on disk stays. */
  abort(reason: Error): void {
    this.#break(reason);
  }

  /**
   * Fetches until every wanted piece is there.
   *
   * @throws {OriginError | StorageError | DaemonError} why it cannot be had
   */
  async run(): Promise<void> {
    const release = this.task.retain();
    const stopWatching = this.task.onChange((change) => {
      if (change.kind === "withdrawn") {
        this.#queue.lose(change.pieceNumber);
      } else {
        this.#queue.done(change.piece.number);
        this.#swarm.recorded(change.piece);
      }
      this.#changed();
    });
    const { guard, originRequest } = this.#options;
    const unwatch = guard?.watch(originRequest, (wait) => this.#originPause.add(wait, this.#now()));
    const conversation = this.#converse();
    let failure: Error | undefined;
    try {
      while (!this.#queue.finished) {
        if (this.#fatal !== undefined) throw this.#fatal;
        this.#step();
        await this.#nextChange();
      }
    } catch (error) {
      failure = toError(error);
    }
    this.#over = true;
    stopWatching();
    unwatch?.();
    this.#work.abort(new DaemonError("ERR_CLOSED", "Cannot go on: the download has ended"));
    const closed = this.#close();
    await settledWithin(closed, CLOSE_MS);
    await this.#farewell(failure);
    this.#talk.abort(new DaemonError("ERR_CLOSED", "Cannot go on: the download has ended"));
    await conversation;
    // What is still being written belongs to the task for as long as that takes.
    void closed.finally(release);
    if (failure !== undefined) throw failure;
  }

  async #close(): Promise<void> {
    await this.#swarm[Symbol.asyncDispose]();
    await this.#reader?.[Symbol.asyncDispose]();
  }

  #viewOfParents(): ParentsWaitView {
    const { parents } = this.#swarm;
    const offering = parents.filter((parent) => this.#queue.isHeldBy(parent));
    return {
      count: parents.length,
      answeredCount: parents.filter(({ address }) => address !== undefined).length,
      offeringCount: offering.length,
      restUntilMs: Math.min(...offering.map(({ restsUntilMs }) => restsUntilMs)),
      namedMs: this.#namedMs,
      untilMs: this.#progressMs + this.#idleMs,
    };
  }

  #viewOfScheduler(nowMs: number): SchedulerWaitView | undefined {
    if (this.#options.scheduler === undefined) return undefined;
    const askedMs = this.#session === undefined ? this.#startedMs : this.#askedMs;
    if (this.#sessionLostMs !== undefined && this.#session === undefined) {
      const sinceMs = Math.max(this.#sessionLostMs, this.#startedMs);
      return { state: "lost", sinceMs, untilMs: sinceMs + this.#options.limits.schedulerLostMs };
    }
    if (askedMs !== undefined)
      return { state: "asked", sinceMs: askedMs, untilMs: askedMs + this.#answerMs };
    if (this.#askAgainMs <= nowMs) return undefined;
    return { state: "pausing", sinceMs: this.#answeredMs, untilMs: this.#askAgainMs };
  }

  /** A line for each thing that is waited for longer than a moment. */
  #logWait(nowMs: number): void {
    const wait = this.wait();
    if (wait === undefined || nowMs - wait.sinceMs < WAIT_LOGGED_MS) {
      if (wait === undefined) this.#loggedWait = undefined;
      return;
    }
    if (this.#loggedWait === wait.reason) return;
    this.#loggedWait = wait.reason;
    const { taskId } = this.task.facts;
    this.#options.logger.info(
      { taskId, reason: wait.reason },
      `waiting: ${formatWait(wait, nowMs)}`,
    );
  }

  /** Starts whatever can be started, and turns to the next source when nothing can. */
  #step(): void {
    const now = this.#now();
    const { limits, scheduler } = this.#options;
    const silentMs = now - this.#progressMs;
    // What we have no memory for is nobody else's fault.
    if (this.#swarm.awaitsRoom) this.#stillMs = 0;
    else this.#stillMs += Math.min(now - this.#stepMs, STEP_MS_MAX);
    this.#unmovedMs += Math.min(now - this.#stepMs, STEP_MS_MAX);
    this.#stepMs = now;
    this.#logWait(now);
    if (this.#isHeldUp(now)) return;
    this.#swarm.pump();
    this.#swarm.watch(() => this.#originOffer(now));
    if (this.#isHopeless(now)) this.#swarm.giveUpAll();
    this.#widen(now);
    this.#seekHelp(now);
    // What parents offer and do not bring, the origin may bring as well.
    const originCount = (this.#reader?.inFlight ?? 0) + this.#swarm.inFlightAtOrigin;
    // What is still being given up would be read past.
    const isEnding = this.#swarm.isForsaken && this.#swarm.inFlight > 0;
    if (!isEnding) {
      this.#reader?.pump({
        offeredCount: this.#isStuck(now) ? Math.max(0, OFFERED_AT_ORIGIN_MAX - originCount) : 0,
        atRandom: this.#isOneOfMany,
      });
    }
    if (this.#swarm.inFlight > 0 || (this.#reader?.inFlight ?? 0) > 0) return;
    // With a usable origin everything missing is on offer from parents that are busy, or the reader would have taken it.
    if (this.#reader !== undefined && this.#originError === undefined) return;
    if (scheduler === undefined) {
      this.#turnToOrigin(this.#options.withoutScheduler ?? "there is no scheduler");
    } else if (this.#swarm.parentCount > 0) {
      const idleMs = this.#idleMs;
      if (silentMs < idleMs) return;
      this.#swarm.dropIdle(`nothing came from it for ${idleMs} ms`);
      this.#changed();
    } else if (this.#session === undefined) {
      const isLost = this.#sessionLostMs !== undefined;
      const sinceMs = this.#sessionLostMs ?? this.#startedMs;
      if (now - sinceMs < (isLost ? limits.schedulerLostMs : this.#answerMs)) return;
      this.#turnToOrigin(isLost ? "the scheduler is lost" : "no scheduler lets us in");
    } else if (this.#askedMs !== undefined) {
      if (now - this.#askedMs < this.#answerMs) return;
      this.#turnToOrigin(`the scheduler has not answered for ${this.#answerMs} ms`);
    } else if (this.#fruitlessCount >= limits.scheduleCountMax) {
      this.#turnToOrigin("the scheduler knows nobody who is of use");
    } else if (now >= this.#askAgainMs) {
      this.#ask("no parent is left");
    }
  }

  /**
   * Dragonfly's scheduler tells a peer once of whoever there was when it came, which at the start of a swarm is one parent for all. Those
   * who came since are had by asking again. Ours tells of them by itself.
   */
  #widen(now: number): void {
    const wanting = this.#swarm.parentCount > 0 && this.#swarm.parentCount < PARENTS_WANTED;
    if (!wanting || now < this.#widenAgainMs || this.#askedMs !== undefined) return;
    if (this.#reader !== undefined || this.#session?.dialect !== "dragonfly") return;
    this.#widenPauseMs = Math.min(2 * this.#widenPauseMs, WIDEN_MAX_MS);
    this.#widenAgainMs = now + jitter(this.#widenPauseMs, this.#random);
    this.#askedMs = now;
    this.#askedForMore = true;
    this.#session.reschedule(this.#swarm.dropped, "more parents would help");
  }

  /**
   * Pieces are in flight, but nothing moves, or hardly anything, and there is no parent left who could be asked as well: the scheduler may
   * know somebody, or lend us its turn at the origin. While it answers, nobody turns to the origin on his own account: a thousand children
   * of a seed that dies would all do so at once.
   */
  #seekHelp(now: number): void {
    if (this.#reader !== undefined || this.#swarm.inFlight === 0) return;
    if (!this.#isStuck(now) || now < this.#helpAgainMs) return;
    const { limits, scheduler, withoutScheduler = "there is no scheduler" } = this.#options;
    const why = "what its parents have does not come";
    if (scheduler === undefined) {
      if (this.#mayAskOrigin) this.#turnToOrigin(`${withoutScheduler}, and ${why}`);
    } else if (this.#session === undefined) {
      const lostMs = now - (this.#sessionLostMs ?? now);
      if (lostMs >= limits.schedulerLostMs && this.#mayAskOrigin)
        this.#turnToOrigin(`the scheduler is lost, and ${why}`);
    } else if (this.#askedMs === undefined) {
      this.#helpPauseMs = Math.min(Math.max(HELP_MS, 2 * this.#helpPauseMs), HELP_MS_MAX);
      this.#helpAgainMs = now + jitter(this.#helpPauseMs, this.#random);
      this.#askedMs = now;
      this.#askedForMore = false;
      this.#askedForHelp = true;
      const doubtful = this.#swarm.doubtful;
      this.#session.reschedule([...this.#swarm.dropped, ...doubtful], why);
    } else if (now - this.#askedMs >= this.#answerMs && this.#mayAskOrigin) {
      this.#turnToOrigin(`the scheduler has not answered for ${this.#answerMs} ms, and ${why}`);
    }
  }

  /** The last resort, whatever else is waited for: nothing has come for so long that nothing will. */
  #isHeldUp(now: number): boolean {
    const { taskStallMs } = this.#options.limits;
    // A machine that was asleep has asked nothing of anybody.
    const isStill = this.#unmovedMs >= Math.min(taskStallMs, WAIT_BOUNDS.diskMs);
    const wait = isStill ? this.wait() : undefined;
    if (wait?.reason === "disk" && now >= (wait.untilMs ?? Infinity)) {
      this.#break(
        new StorageError(
          "ERR_IO",
          `Cannot go on with task ${this.task.facts.taskId.slice(0, 12)}: ${formatWait(wait, now)}`,
        ),
      );
      return true;
    }
    const stallMs = Math.max(taskStallMs, 2 * this.#answerMs);
    const isReading = this.#reader !== undefined && this.#originError === undefined;
    if (isReading || this.#unmovedMs < stallMs) return false;
    this.#turnToOrigin(`nothing has come for ${Math.round(stallMs / 1000)} s`);
    return false;
  }

  /** Nothing has come for a while, or so little that it may as well be nothing. */
  #isStuck(now: number): boolean {
    const { hedgeMs, crawlRate } = this.#options.limits;
    if (this.#stillMs >= hedgeMs) return true;
    const rate = this.#rate.rate(now);
    if (now - this.#startedMs < RATE_MS || rate >= crawlRate) return false;
    // Held to a rate by our own limits it is as fast as it may be.
    if (!this.#swarm.isStarved) return false;
    const missing = this.#queue.unfinished();
    const left = missing.reduce((sum, number) => sum + this.task.bounds(number).length, 0);
    return left >= rate * CRAWL_LEFT_MS;
  }

  /**
   * Hardly anything comes from parents, for long, and the origin, which is read anyway, is not asked for it: its ranges have been tried in
   * vain, or it serves none. What is in flight is better read there.
   */
  #isHopeless(now: number): boolean {
    const isReading = this.#reader !== undefined && this.#originError === undefined;
    if (
      !isReading ||
      this.#swarm.inFlight === 0 ||
      now - this.#pieceMs < this.#options.limits.hopelessMs
    )
      return false;
    return this.#reader?.inFlight === 0 && this.#swarm.inFlightAtOrigin === 0 && this.#isStuck(now);
  }

  /** Who reads the origin without having been sent there may be one of many who do. */
  get #isOneOfMany(): boolean {
    return this.#options.scheduler !== undefined && !this.#hasTurn;
  }

  get #mayAskOrigin(): boolean {
    const { disableBackToSource, needBackToSource } = this.#options.registration;
    if (disableBackToSource && !needBackToSource) return false;
    const isMixable = isProvable(this.task.facts) || this.task.pieces.size === 0;
    return this.#originError === undefined && isMixable;
  }

  /** The origin, for the rests of pieces that do not come: while we read it anyway, in ranges. */
  #originOffer(now: number): OriginOffer | undefined {
    const { rangeable, originRequest: request, limits, guard } = this.#options;
    const isReading = this.#reader?.isRanged === true && this.#originError === undefined;
    if (!isReading || !rangeable || now < this.#originHedgeAgainMs) return undefined;
    if (guard?.mayAsk(request) === false) return undefined;
    const inFlight = (this.#reader?.inFlight ?? 0) + this.#swarm.inFlightAtOrigin;
    if (inFlight >= limits.backToSourceConcurrentPieceCount) return undefined;
    const { etag, lastModified, contentLength } = this.task.facts;
    return { request, expected: { etag, lastModified, contentLength } };
  }

  /** The rest of a piece could not be had from the origin. Whether it is of use at all, its reader finds out. */
  #originHedgeFailed(error: Error): void {
    const { guard, originRequest } = this.#options;
    guard?.noteFailure(originRequest, error);
    if (codeOf(error) === "ERR_ORIGIN_CHANGED") this.#originBroke(error);
    else this.#originHedgeAgainMs = this.#now() + jitter(HELP_MS, this.#random);
  }

  /** Our scheduler keeps a peer waiting on purpose, for about as long as it lets the reader of the origin be slow. */
  get #answerMs(): number {
    const { limits, registration } = this.#options;
    if (this.#session?.dialect === "dragonfly")
      return Math.min(limits.dragonflyAnswerMs, limits.scheduleTimeoutMs);
    const inFlight = registration.pieceLength * registration.concurrentPieceCount;
    const answerMs = Math.ceil(limits.schedulerAnswerMs + inFlight / ORIGIN_BYTES_PER_MS_MIN);
    return Math.min(answerMs, limits.scheduleTimeoutMs);
  }

  /** How long parents that bring nothing are kept. With those that others have waited for in vain there is less patience. */
  get #idleMs(): number {
    const { idleMs, suspectIdleMs } = this.#options.limits;
    return this.#swarm.isSuspect ? Math.min(suspectIdleMs, idleMs) : idleMs;
  }

  get #from(): "parents" | "origin" {
    return this.#told.has("origin") ? "origin" : "parents";
  }

  #turnToOrigin(reason: string): void {
    const { registration, logger, limits, originRequest, rangeable, dataPlane } = this.#options;
    const { taskId, disableBackToSource, needBackToSource } = registration;
    if (this.#originError !== undefined) {
      this.#break(this.#originError);
      return;
    }
    if (disableBackToSource && !needBackToSource) {
      const message = `Cannot download task ${taskId.slice(0, 12)}: ${reason}, and the request forbids asking the origin`;
      this.#break(new DaemonError("ERR_NO_SOURCE", message));
      return;
    }
    this.#tell("origin");
    if (this.#reader !== undefined) return;
    if (!isProvable(this.task.facts) && this.task.pieces.size > 0) {
      // What is here may be of another version than what the origin serves now, and nothing could tell.
      this.#break(new OriginMoved());
      return;
    }
    logger.info({ taskId, reason }, "fetching from the origin");
    // All of it comes from one reading, and nothing from others.
    if (!isProvable(this.task.facts)) this.#swarm.forsake();
    this.#reader = new OriginReader({
      task: this.task,
      queue: this.#queue,
      dataPlane,
      request: originRequest,
      rangeable,
      concurrentPieceCount: limits.backToSourceConcurrentPieceCount,
      signal: this.#work.signal,
      now: this.#now,
      events: {
        changed: () => this.#changed(),
        progressed: (length) => {
          this.#progressed(length);
          this.#renewLease();
        },
        pieceFinished: (piece) => {
          this.tally.originBytes += piece.length;
          this.#pieceFinished(piece, { originLength: piece.length });
        },
        broke: (error) => this.#originBroke(error),
      },
    });
    this.#readerSinceMs = this.#now();
    this.#pieceMs = this.#readerSinceMs;
    this.#changed();
  }

  /** The origin failed. Parents that still bring pieces may finish the job; a changed origin ends it at once. */
  #originBroke(error: Error): void {
    this.#session?.originFailed(undefined, error);
    const code = codeOf(error);
    const fatal =
      code === "ERR_ORIGIN_CHANGED" ||
      !code.startsWith("ERR_ORIGIN") ||
      this.#swarm.parentCount === 0;
    if (fatal) this.#break(error);
    this.#originError = error;
    this.#changed();
  }

  /** Keeps a session with the scheduler for as long as the flight lasts; a lost one is opened anew, later and later. */
  async #converse(): Promise<void> {
    const { scheduler, registration, logger } = this.#options;
    if (scheduler === undefined) return;
    const { signal } = this.#talk;
    let announcedMs = Number.NEGATIVE_INFINITY;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await using session = await scheduler.register(registration, { signal });
        this.#session = session;
        this.#hadSession = true;
        this.#askedMs = this.#now();
        this.#askedForMore = false;
        this.#askedForHelp = false;
        session.holds(this.task.pieces.values());
        this.#told.clear();
        this.#renewedMs = undefined;
        for await (const event of session.events) {
          attempt = 0;
          this.#sessionLostMs = undefined;
          this.#obey(event);
        }
        if (this.#over) return;
        throw new DaemonError(
          "ERR_SCHEDULER",
          `Cannot go on with scheduler ${session.schedulerName}: it ended the conversation`,
        );
      } catch (error) {
        if (signal.aborted) return;
        if (isRefusal(error, registration.priority)) {
          this.#refused(toError(error));
          return;
        }
        // It knows us no more: we are announced anew, which need not wait, unless that is what we have just done.
        const isNews = this.#now() - announcedMs >= SESSION_PAUSE_MS_MAX;
        if (statusOf(error) === "NOT_FOUND" && isNews) {
          announcedMs = this.#now();
          continue;
        }
        const level = attempt === 0 ? "warn" : "debug";
        logger[level]({ taskId: registration.taskId }, `scheduler lost: ${messageOf(error)}`);
      } finally {
        this.#session = undefined;
      }
      this.#sessionLostMs ??= this.#hadSession ? this.#now() : Number.NEGATIVE_INFINITY;
      this.#changed();
      const pauseMs = Math.min(SESSION_PAUSE_MS * 2 ** attempt, SESSION_PAUSE_MS_MAX);
      await pause(jitter(pauseMs, this.#random), signal);
    }
  }

  #obey(event: ScheduleEvent): void {
    const unneeded = this.#askedForMore && this.#swarm.parentCount > 0;
    const forHelp = this.#askedForHelp;
    const answered = this.#askedMs !== undefined && !unneeded && !forHelp;
    this.#askedMs = undefined;
    this.#answeredMs = this.#now();
    this.#askedForMore = false;
    this.#askedForHelp = false;
    if (event.kind === "parents") {
      this.#tell("parents");
      if (!unneeded) this.#scheduleWidening();
      if (this.#swarm.add(event.parents) > 0) {
        this.#progressMs = this.#now();
        this.#namedMs = this.#progressMs;
        this.#stillMs = 0;
        this.#fruitlessCount = 0;
      } else if (answered) {
        this.#fruitlessCount += 1;
      }
    } else if (unneeded || (forHelp && this.#swarm.parentCount > 0 && !this.#mayAskOrigin)) {
      // Nobody else there is no reason to leave those who are.
    } else if (event.kind === "origin") {
      this.#progressMs = this.#now();
      this.#stillMs = 0;
      this.#hasTurn = true;
      this.#turnToOrigin(event.reason);
      if (event.renewable === true) this.#renewedMs = this.#now();
    } else if (event.kind === "empty") {
      // It was told so by somebody for whom the file was empty; what we want is there.
      this.#turnToOrigin("the scheduler says that the task is empty");
    }
    this.#changed();
  }

  /** The scheduler has answered, and the answer is no. Parents that are known may finish the job; else it is up to the origin. */
  #refused(error: Error): void {
    const { registration, logger } = this.#options;
    const reason = messageOf(error);
    logger.warn({ taskId: registration.taskId }, `the scheduler refuses: ${reason}`);
    this.#sessionLostMs = Number.NEGATIVE_INFINITY;
    if (FORBIDDING_PRIORITIES.has(registration.priority)) {
      const message = `Cannot download: ${reason}`;
      this.#break(new DaemonError("ERR_NO_SOURCE", message, { cause: error }));
    }
    this.#changed();
  }

  /** Bytes come from the origin, though perhaps no piece is whole for long: the scheduler hears of it now and then. */
  #renewLease(): void {
    const { leaseRenewalMs } = this.#options.limits;
    if (this.#renewedMs === undefined || this.#now() - this.#renewedMs < leaseRenewalMs) return;
    this.#renewedMs = this.#now();
    this.#session?.started("origin");
  }

  #ask(description: string): void {
    if (this.#session === undefined) return;
    const now = this.#now();
    // Answers that are of no use are asked for later and later; pieces that come reset that.
    const { askPauseMs } = this.#options.limits;
    this.#askPauseMs = Math.min(Math.max(askPauseMs, this.#askPauseMs * 2), 20 * askPauseMs);
    this.#askAgainMs = now + jitter(this.#askPauseMs, this.#random);
    this.#askedMs = now;
    this.#askedForMore = false;
    this.#askedForHelp = false;
    this.#session.reschedule(this.#swarm.dropped, description);
  }

  #scheduleWidening(): void {
    this.#widenPauseMs = this.#options.limits.widenMs;
    this.#widenAgainMs = this.#now() + jitter(this.#widenPauseMs, this.#random);
  }

  #tell(from: "parents" | "origin"): void {
    if (this.#session === undefined || this.#told.has(from)) return;
    // There is no way back from the origin: Dragonfly's scheduler ends the stream of a peer that says so.
    if (this.#told.has("origin")) return;
    this.#told.add(from);
    this.#session.started(from);
  }

  async #farewell(failure: Error | undefined): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    try {
      if (failure === undefined) await session.finish(this.#from);
      // Of a reader of the origin that fails Dragonfly's scheduler concludes that the task cannot be had: not because somebody left.
      else if (codeOf(failure) === "ERR_CLOSED") await session.fail(messageOf(failure), "parents");
      else await session.fail(messageOf(failure), this.#from);
    } catch (error) {
      const { logger } = this.#options;
      const { taskId } = this.task.facts;
      logger.debug({ taskId }, `could not report the end: ${messageOf(error)}`);
    }
  }

  #pieceFetched({ record, parent, lengths }: FetchedPiece): void {
    const { bytesByParent } = this.tally;
    for (const [source, length] of lengths) {
      if (source === "origin") {
        this.tally.originBytes += length;
      } else {
        const { hostId } = source.candidate;
        bytesByParent.set(hostId, (bytesByParent.get(hostId) ?? 0) + length);
      }
    }
    const originLength = lengths.get("origin") ?? 0;
    this.#pieceFinished(record, { parent: parent?.candidate, originLength });
  }

  #pieceFinished(
    piece: PieceRecord,
    {
      parent,
      originLength,
    }: { readonly parent?: CandidateParent | undefined; readonly originLength: number },
  ): void {
    this.#askPauseMs = 0;
    this.#helpPauseMs = 0;
    this.#fruitlessCount = 0;
    this.#pieceMs = this.#now();
    this.#session?.pieceFinished(piece, parent);
    this.#options.observer?.piece(piece, originLength);
    this.#progressed(0);
    this.#changed();
  }

  #progressed(length: number): void {
    this.#options.observer?.bytes(length);
    this.#received += length;
    this.#progressMs = this.#now();
    this.#stillMs = 0;
    if (length === 0) return;
    this.#movedMs = this.#progressMs;
    this.#unmovedMs = 0;
    this.#rate.add(length, this.#progressMs);
  }

  #break(error: Error): void {
    this.#fatal ??= error;
    this.#changed();
  }

  #changed(): void {
    this.#woken = true;
    this.#wake();
  }

  /** Resolves at the next change, or after a while, since some of what `#step` looks at is the clock. */
  async #nextChange(): Promise<void> {
    if (!this.#woken) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, STEP_MS);
      });
      clearTimeout(timer);
      this.#wake = () => {};
    }
    // What changes in one turn of the event loop is looked at once.
    await new Promise((resolve) => setImmediate(resolve));
    this.#woken = false;
  }
}

/** Waits for `work`, which does not reject, but no longer than so many milliseconds. */
async function settledWithin(work: Promise<void>, ms: number): Promise<void> {
  const over = new AbortController();
  void work.then(() => over.abort());
  await pause(ms, over.signal);
}

/** Peers of these priorities may not make a task be fetched that nobody has (common.v2.Priority). */
const FORBIDDING_PRIORITIES: ReadonlySet<string> = new Set(["LEVEL1", "LEVEL2"]);
