import { randomUUID } from "node:crypto";
import type { Lack, PieceRecord, StoredTask } from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { DaemonError } from "../errors.ts";
import { formatPeerId } from "../identity/peer-id.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { Origin } from "../origins/origin.ts";
import type { ParentChannel } from "../parents/parent-channel.ts";
import { ParentHosts } from "../parents/parent-host.ts";
import type { SchedulerLink } from "../scheduling/scheduler-link.ts";
import { steadyNow } from "../steady-now.ts";
import { toError } from "../to-error.ts";
import { announceHolding } from "./announce-holding.ts";
import { CheckUnwanted, mayDoBetter, pieceMissing } from "./begin-anew.ts";
import { piecesOfRange, type ByteRange } from "./byte-range.ts";
import { deliver } from "./deliver.ts";
import { DigestCheck, type DigestCheckOptions } from "./digest-check.ts";
import { DownloadCall } from "./download-call.ts";
import type { DownloadRequest } from "./download-request.ts";
import { DEFAULT_FLIGHT_LIMITS, type FlightLimits } from "./flight-limits.ts";
import { Flight, type FlightGuard, type FlightObserver } from "./flight.ts";
import { type SharedFlight, TaskFlights } from "./task-flights.ts";
import { isAboutDelivery, TaskHistory } from "./task-history.ts";
import { persist } from "./persist.ts";
import { reportTask, type RunningCall, type TaskReport } from "./task-report.ts";
import { TaskPreparer } from "./task-preparer.ts";
import { registrationOf } from "./registration-of.ts";
import { mayFill, originRequestFor } from "./rights-of.ts";
import { skipsScheduler } from "./skips-scheduler.ts";
import { asLocal, type Telling, tellPieces } from "./tell-pieces.ts";
import { ToldPieces } from "./told-pieces.ts";
import { joinSignals } from "../join-signals.ts";

/** Tasks fetched at once because somebody wanted a part of them; of further ones only the part is. */
const PREFETCHES_MAX = 100;
/** A scheduler that does not listen to what is here already holds nobody up for longer. Milliseconds. */
const ANNOUNCE_HOLDING_MS = 10_000;
export type DownloadEvent =
  /** Comes first; comes again if the origin changed and everything started anew: what was said before is void. */
  | {
      readonly kind: "started";
      readonly peerId: string;
      readonly task: StoredTask;
      readonly range: ByteRange | undefined;
      readonly pieceNumbers: readonly number[];
      /** Everything asked for was on disk. */
      readonly finished: boolean;
    }
  /** A piece is on disk and checked. */
  | { readonly kind: "piece"; readonly piece: PieceRecord };

export interface TaskManagerOptions {
  readonly dataPlane: DataPlane;
  /** Only asked what files are: their bodies come by way of the data plane. */
  readonly origin: Pick<Origin, "stat">;
  /** Knows when an origin is left alone. */
  readonly guard?: FlightGuard;
  readonly scheduler?: SchedulerLink;
  readonly channel: ParentChannel;
  readonly host: {
    readonly id: string;
    readonly ip: string;
    readonly hostname: string;
    readonly seed: boolean;
  };
  readonly limits?: Partial<FlightLimits>;
  /** What is looked at before a file that is here is handed out; default `stat`. */
  readonly verifyOnHit?: "stat" | "full";
  /** Has others make way on a disk that is full. True: some did. */
  readonly makeRoom?: (lack: Lack) => Promise<boolean>;
  /** Compare whole files with what their origins say their digests are. Default true. */
  readonly verifyDigest?: boolean;
  readonly onDigestChecked?: DigestCheckOptions["onChecked"];
  readonly logger: Logger;
  readonly observer?: FlightObserver;
}

/** One download a task however many ask for it, progress to every one of them. */
export class TaskManager implements AsyncDisposable {
  readonly history: TaskHistory = new TaskHistory();
  readonly #options: TaskManagerOptions;
  readonly #limits: FlightLimits;
  readonly #hosts = new ParentHosts();
  readonly #flights: TaskFlights;
  readonly #preparer: TaskPreparer;
  readonly #digestCheck: DigestCheck | undefined;
  readonly #background = new Set<Promise<void>>();
  /** Tasks that are fetched because somebody wanted a part of them. */
  readonly #prefetching = new Set<string>();
  readonly #closing = new AbortController();
  readonly #calls = new Set<RunningCall>();
  #childCount = 0;

  constructor(options: TaskManagerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_FLIGHT_LIMITS, ...options.limits };
    const { dataPlane, origin, logger, observer } = options;
    this.#flights = new TaskFlights((shared) => this.#flightDone(shared));
    this.#preparer = new TaskPreparer({
      dataPlane,
      origin,
      flightOf: (taskId) => this.#flights.running(taskId),
      closing: this.#closing.signal,
      logger,
      ...(observer === undefined ? {} : { observer }),
    });
    const { verifyDigest = true, onDigestChecked: onChecked } = options;
    const { storage } = dataPlane;
    if (verifyDigest)
      this.#digestCheck = new DigestCheck({ storage, logger, ...(onChecked && { onChecked }) });
  }

  /** Downloads under way, up to the delivery of the last byte, and children that follow them. */
  get activeCount(): number {
    return this.#calls.size + this.#childCount;
  }

  /** What is being downloaded, and how it gets on. */
  report(): TaskReport[] {
    const nowMs = steadyNow();
    const urls = new Map<string, string>();
    for (const [taskId, { flight }] of this.#flights) urls.set(taskId, flight.task.facts.url);
    for (const { request } of this.#calls) urls.set(request.taskId, request.origin.url);
    return [...urls].map(([taskId, url]) => {
      const shared = this.#flights.get(taskId);
      return reportTask(taskId, {
        url,
        calls: [...this.#calls].filter(({ request }) => request.taskId === taskId),
        flight: shared?.flight,
        childCount: shared?.childCount ?? 0,
        nowMs,
      });
    });
  }

  /** Whether a download of this task is under way. */
  isActive(taskId: string): boolean {
    return this.#flights.get(taskId) !== undefined;
  }

  /** Resolves when the download of this task under way ends, with its failure if it fails; `undefined` if there is none. */
  endOf(taskId: string): Promise<Error | undefined> | undefined {
    return this.#flights.get(taskId)?.ended;
  }

  /** A child waits for pieces of the download of this task under way; see `TaskFlights`. Call what is returned when it leaves. */
  attend(taskId: string): () => void {
    const leave = this.#flights.attend(taskId);
    this.#childCount += 1;
    return () => {
      this.#childCount -= 1;
      leave();
    };
  }

  /**
   * Downloads, and ends when every piece asked for is on disk, the digest is right and the output is in place.
   * Leaving the loop, or the signal, gives up; the download goes on while anybody else waits for it, and pieces on disk stay.
   *
   * @param call knows at each moment what is being waited for
   * @throws {OriginError | StorageError | DaemonError} why it cannot be had
   */
  async *download(
    request: DownloadRequest,
    signal: AbortSignal,
    call: DownloadCall = new DownloadCall(),
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    const running = { request, call };
    using joined = joinSignals(signal, this.#closing.signal);
    const either = joined.signal;
    this.#calls.add(running);
    const unwatch = this.#options.guard?.watch(request.origin, (wait) => call.waits(wait));
    try {
      yield* persist(request, (again) => this.#attempt(again, either, call), {
        signal: either,
        told: call.told,
        logger: this.#options.logger,
      });
      this.history.succeeded(request.taskId);
    } catch (error) {
      const isDownload = !request.metadataOnly && !isAboutDelivery(error);
      if (!either.aborted && isDownload) this.history.failed(request.taskId);
      throw error;
    } finally {
      unwatch?.();
      this.#calls.delete(running);
    }
  }

  /** Fetches in the background the whole of a task of which a part is asked for. Never fails anybody. */
  prefetch(request: DownloadRequest, observer?: PrefetchObserver): void {
    const { taskId } = request;
    if (this.#prefetching.has(taskId) || this.#closing.signal.aborted) return;
    if (this.#prefetching.size >= PREFETCHES_MAX) return;
    this.#prefetching.add(taskId);
    this.history.prefetched(taskId);
    observer?.started();
    // The digest is the caller's to insist on, and so is where its part goes.
    const { range: _range, digest: _digest, output: _output, ...whole } = request;
    const work = async (): Promise<void> => {
      try {
        for await (const _ of this.download(whole, this.#closing.signal));
      } catch (error) {
        observer?.failed();
        throw error;
      } finally {
        this.#prefetching.delete(taskId);
      }
    };
    this.#inBackground(work(), "could not fetch the rest of the task");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(
      new DaemonError("ERR_CLOSED", "Cannot go on downloading: the daemon is stopping"),
    );
    await this.#flights.abort(toError(this.#closing.signal.reason));
    await Promise.all(this.#background);
  }

  async *#attempt(
    request: DownloadRequest,
    signal: AbortSignal,
    call: DownloadCall,
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    const sinceMs = performance.now();
    call.enter("origin-facts");
    const prepared = await this.#preparer.prepare(request, signal, call);
    const { task, rangeable, fresh = false, digestIsNews: isNews = false } = prepared;
    // Before anything is waited for: nobody is to have it make way meanwhile. Who only asks about a file has no room kept for what is missing of it.
    const release = request.metadataOnly && !task.complete ? () => {} : task.retain();
    try {
      const range = request.range?.(task.facts.contentLength);
      const pieceNumbers = piecesOfRange(task.facts, range);
      const told = call.told ?? new ToldPieces();
      const untold = told.untold(task, pieceNumbers);
      if (!fresh) await this.#verifyHits(task, untold, signal);
      const { output } = request;
      // Told before anything is fetched, not after.
      if (output !== undefined)
        await task.assertOutput(output.path, {
          ...output,
          ...(range === undefined ? {} : { range }),
        });
      const finished = pieceNumbers.every((number) => task.pieces.has(number));
      const peerId = formatPeerId(this.#options.host, randomUUID());
      const isKnown = task.complete && request.forOthers === true;
      if (isKnown) await this.#announceHolding(request, task, peerId, signal);
      const goesOn = !told.begin(task);
      if (!goesOn) yield { kind: "started", peerId, task, range, pieceNumbers, finished };
      if (request.metadataOnly) return;
      if (finished) {
        for (const number of untold) {
          const piece = task.pieces.get(number);
          if (piece === undefined) throw pieceMissing(number);
          told.add(number);
          yield { kind: "piece", piece: fresh ? piece : asLocal(piece) };
          told.assertGoesOn();
          if (!told.has(number)) throw pieceMissing(number);
        }
      } else {
        if (range === undefined) this.#digestCheck?.expect(task, request);
        const telling = { task, pieceNumbers, told, inOrder: goesOn };
        yield* this.#ride(request, { ...telling, rangeable, peerId, call }, signal);
      }
      told.assertGoesOn();
      call.enter("output");
      await this.#digestCheck?.assertGood(task, request, { isNews });
      const { storage } = this.#options.dataPlane;
      await deliver(request, { task, range, storage, sinceMs, signal });
    } finally {
      release();
    }
    // It may have become whole only after this download had looked: by somebody else's, while a part was put in its place.
    if (task.complete && !task.sealed)
      this.#inBackground(this.#sealIfGood(task, request), "could not seal the task");
  }

  /** Has what is on disk read before it is handed out, where the operator trusts stat alone as little as we do not trust others. */
  async #verifyHits(
    task: StoredTask,
    pieceNumbers: readonly number[],
    signal: AbortSignal,
  ): Promise<void> {
    // What a download under way has brought was checked on its way to the disk; what was there before, by its first caller.
    if (this.#options.verifyOnHit !== "full" || this.isActive(task.facts.taskId)) return;
    await task.verify(pieceNumbers, { signal });
  }

  /** Joins the task's flight, or starts it, and follows until the pieces are there. */
  async *#ride(
    request: DownloadRequest,
    trip: Telling & {
      readonly rangeable: boolean;
      readonly peerId: string;
      readonly call: DownloadCall;
    },
    signal: AbortSignal,
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    const { task, pieceNumbers, call, told } = trip;
    let hasAskedForRoom = false;
    /** The disk has filled up since the task was created, by somebody else's hand: once, others make way. */
    const hasRoomNow = async (error: unknown): Promise<boolean> => {
      if (codeOf(error) !== "ERR_NO_SPACE" || hasAskedForRoom) return false;
      hasAskedForRoom = true;
      const missing = pieceNumbers.filter((number) => !task.pieces.has(number));
      const bytes = missing.reduce((sum, number) => sum + task.bounds(number).length, 0);
      return (await this.#options.makeRoom?.({ bytes, of: "disk" })) === true;
    };
    for (;;) {
      const { shared, leave } = this.#flights.board(request, task, pieceNumbers, () =>
        this.#openFlight(request, trip),
      );
      call.board(shared.flight);
      try {
        for (;;) {
          for await (const piece of tellPieces(trip, shared, signal))
            yield { kind: "piece", piece };
          // Whoever has the content itself can do without what has gone since.
          const isOwed = (number: number): boolean =>
            !told.has(number) || (call.told === undefined && !task.pieces.has(number));
          const missing = pieceNumbers.find(isOwed);
          if (missing === undefined) return;
          // Damaged, or denied, since it was told of: the flight has it fetched again if it still can.
          if (shared.flight.over) throw pieceMissing(missing);
        }
      } catch (error) {
        if (codeOf(error) === "ERR_ORIGIN_TLS" && !mayFill(request, task.facts.contentVersion))
          throw new CheckUnwanted(error);
        // Whoever began the download may not ask the origin, or has not the right to: our own request may do better.
        if (!mayDoBetter(request, shared.request, error) && !(await hasRoomNow(error))) throw error;
      } finally {
        leave();
      }
      call.enter("former");
      await shared.ended;
    }
  }

  #openFlight(
    request: DownloadRequest,
    trip: { readonly task: StoredTask; readonly rangeable: boolean; readonly peerId: string },
  ): Flight {
    const { task, rangeable, peerId } = trip;
    const { dataPlane, scheduler, channel, host, logger, observer } = this.#options;
    const skips =
      scheduler !== undefined && skipsScheduler(request, task.facts.contentLength, scheduler);
    return new Flight({
      task,
      registration: registrationOf(request, task, peerId, this.#limits.concurrentPieceCount),
      originRequest: originRequestFor(request, task.facts.contentVersion),
      rangeable,
      dataPlane,
      guard: this.#options.guard,
      ...(scheduler === undefined || skips ? {} : { scheduler }),
      ...(skips ? { withoutScheduler: "the file is small" } : {}),
      channel,
      hostId: host.id,
      hosts: this.#hosts,
      limits: this.#limits,
      logger,
      ...(observer === undefined ? {} : { observer }),
    });
  }

  #flightDone({ flight, request, riderCount, ending, startedMs }: SharedFlight): void {
    const { task } = flight;
    this.#log(flight, startedMs);
    // Nobody is left who would.
    if (riderCount === 0 && !ending && task.complete && !task.sealed)
      this.#inBackground(this.#sealIfGood(task, request), "could not seal the task");
  }

  async #announceHolding(
    request: DownloadRequest,
    task: StoredTask,
    peerId: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { scheduler, logger } = this.#options;
    if (scheduler === undefined) return;
    const registration = registrationOf(request, task, peerId, this.#limits.concurrentPieceCount);
    const patience = AbortSignal.timeout(ANNOUNCE_HOLDING_MS);
    try {
      const either = AbortSignal.any([signal, patience]);
      await announceHolding(scheduler, registration, task.pieces.values(), either);
    } catch (error) {
      signal.throwIfAborted();
      const { taskId } = request;
      logger.warn({ taskId }, `the scheduler could not be told what is here: ${messageOf(error)}`);
    }
  }

  async #sealIfGood(task: StoredTask, request: DownloadRequest): Promise<void> {
    await this.#digestCheck?.assertGood(task, request, { isNews: false });
    await task.seal();
  }

  #log(flight: Flight, startedMs: number): void {
    const { facts } = flight.task;
    const { originBytes, bytesByParent } = flight.tally;
    const parents = Object.fromEntries(bytesByParent);
    const fields = {
      taskId: facts.taskId,
      contentLength: facts.contentLength,
      originBytes,
      parents,
      durationMs: Math.round(steadyNow() - startedMs),
    };
    this.#options.logger.info(fields, "task done");
  }

  #inBackground(work: Promise<void>, failure: string): void {
    const tracked = work
      .catch((error: unknown) => this.#options.logger.warn({ error: String(error) }, failure))
      .finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }
}

/** Who counts downloads that nobody waits for. */
export interface PrefetchObserver {
  started(): void;
  failed(): void;
}
