import { createHash, randomUUID } from "node:crypto";
import {
  StorageError,
  type PieceRecord,
  type Spool,
  type StoredTask,
  type TaskFacts,
} from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import { countBytes } from "../count-bytes.ts";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { DaemonError } from "../errors.ts";
import { credentialsDigest } from "../identity/credentials-digest.ts";
import { formatPeerId } from "../identity/peer-id.ts";
import { choosePieceLength } from "../identity/piece-length.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { Origin, OriginStat } from "../origins/origin.ts";
import type { ParentChannel } from "../parents/parent-channel.ts";
import type { PeerRegistration, SchedulerLink } from "../scheduling/scheduler-link.ts";
import { toError } from "../to-error.ts";
import { piecesOfRange, type ByteRange } from "./byte-range.ts";
import { cutContent } from "./cut-content.ts";
import type { DownloadRequest } from "./download-request.ts";
import { isPassingFault, isProvable, OriginMoved } from "./origin-reader.ts";
import { uncheckedVersion } from "./file-version.ts";
import { DEFAULT_FLIGHT_LIMITS, Flight, type FlightLimits, type FlightObserver } from "./flight.ts";
import { followPieces } from "./follow-pieces.ts";

/** How often a task starts anew because its origin changed under it. */
const RESTARTS_MAX = 3;
/** How often a body that cannot be resumed is asked for. */
const SPOOL_ATTEMPTS_MAX = 3;

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
  readonly origin: Origin;
  readonly scheduler?: SchedulerLink;
  readonly channel: ParentChannel;
  readonly host: {
    readonly id: string;
    readonly ip: string;
    readonly hostname: string;
    readonly seed: boolean;
  };
  readonly limits?: Partial<FlightLimits>;
  readonly logger: Logger;
  readonly observer?: TaskObserver;
}

/** Who counts downloads. */
export interface TaskObserver extends FlightObserver {
  taskStarted(): void;
  taskEnded(outcome: { readonly failed: boolean; readonly durationMs: number }): void;
}

/** One download a task however many ask for it, progress to every one of them. */
export class TaskManager implements AsyncDisposable {
  readonly #options: TaskManagerOptions;
  readonly #limits: FlightLimits;
  readonly #flights = new Map<string, Shared>();
  readonly #preparing = new Map<string, Preparation>();
  readonly #background = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #callerCount = 0;
  #childCount = 0;

  constructor(options: TaskManagerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_FLIGHT_LIMITS, ...options.limits };
  }

  /** Downloads under way, up to the delivery of the last byte, and children that follow them. */
  get activeCount(): number {
    return this.#callerCount + this.#childCount;
  }

  /** Whether a download of this task is under way. */
  isActive(taskId: string): boolean {
    return this.#flights.has(taskId);
  }

  /** Resolves when the download of this task under way ends, with its failure if it fails; `undefined` if there is none. */
  endOf(taskId: string): Promise<Error | undefined> | undefined {
    return this.#flights.get(taskId)?.ended;
  }

  /**
   * A child waits for pieces of the download of this task under way. One that was begun for others than this node's own programs goes on
   * for its sake when whoever asked for it is gone: a scheduler that was killed must not take the seed with it. Call what is returned when
   * the child leaves.
   */
  attend(taskId: string): () => void {
    const shared = this.#flights.get(taskId);
    this.#childCount += 1;
    if (shared !== undefined) shared.childCount += 1;
    return () => {
      this.#childCount -= 1;
      if (shared === undefined) return;
      shared.childCount -= 1;
      endUnlessWanted(shared);
    };
  }

  /**
   * Downloads, and ends when every piece asked for is on disk, the digest is right and the output is in place.
   * Leaving the loop, or the signal, gives up; the download goes on while anybody else waits for it, and pieces on disk stay.
   *
   * @throws {OriginError | StorageError | DaemonError} why it cannot be had
   */
  async *download(
    request: DownloadRequest,
    signal: AbortSignal,
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    this.#callerCount += 1;
    try {
      yield* this.#persist(request, AbortSignal.any([signal, this.#closing.signal]));
    } finally {
      this.#callerCount -= 1;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(
      new DaemonError("ERR_CLOSED", "Cannot go on downloading: the daemon is stopping"),
    );
    for (const { flight } of this.#flights.values())
      flight.abort(toError(this.#closing.signal.reason));
    await Promise.all([...this.#flights.values()].map((shared) => shared.ended));
    await Promise.all(this.#background);
  }

  /** Begins anew what is worth it. */
  async *#persist(
    asked: DownloadRequest,
    either: AbortSignal,
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    let request = asked;
    for (let restarts = 0; ; restarts += 1) {
      try {
        yield* this.#attempt(request, either);
        return;
      } catch (error) {
        either.throwIfAborted();
        const reason = whyAnew(error);
        if (reason === undefined) throw error;
        if (restarts === RESTARTS_MAX) {
          throw new DaemonError(
            "ERR_ORIGIN_UNSTABLE",
            `Cannot download: ${reason} during each of ${RESTARTS_MAX + 1} tries`,
            { cause: error },
          );
        }
        this.#options.logger.warn({ taskId: request.taskId }, `${reason}: starting anew`);
        if (codeOf(error) === "ERR_PIECE_MISSING") continue;
        request = { ...request, revalidate: true };
        // Whoever gave us the wrong file would give it again.
        if (error instanceof PeersLied) request = { ...request, needBackToSource: true };
      }
    }
  }

  async *#attempt(
    request: DownloadRequest,
    signal: AbortSignal,
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    const { task, rangeable, fresh = false } = await this.#prepare(request, signal);
    const range = request.range?.(task.facts.contentLength);
    const pieceNumbers = piecesOfRange(task.facts, range);
    const finished = pieceNumbers.every((number) => task.pieces.has(number));
    const peerId = formatPeerId(this.#options.host, randomUUID());
    const release = task.retain();
    try {
      yield { kind: "started", peerId, task, range, pieceNumbers, finished };
      if (finished) {
        for (const number of pieceNumbers) {
          const piece = task.pieces.get(number);
          if (piece === undefined) throw pieceMissing(number);
          yield { kind: "piece", piece: fresh ? piece : local(piece) };
        }
      } else {
        yield* this.#ride(request, { task, rangeable, peerId, pieceNumbers }, signal);
      }
      await this.#deliver(request, task, range, signal);
    } finally {
      release();
    }
    if (task.complete && !task.sealed) this.#inBackground(task.seal(), "could not seal the task");
  }

  /** Joins the task's flight, or starts it, and follows until the pieces are there. */
  async *#ride(
    request: DownloadRequest,
    trip: {
      readonly task: StoredTask;
      readonly rangeable: boolean;
      readonly peerId: string;
      readonly pieceNumbers: readonly number[];
    },
    signal: AbortSignal,
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    const { task, pieceNumbers } = trip;
    const told = new Set<number>();
    for (;;) {
      const shared = this.#board(request, trip);
      shared.riderCount += 1;
      shared.forOthers ||= request.forOthers === true;
      shared.flight.want(pieceNumbers);
      try {
        const untold = pieceNumbers.filter((number) => !told.has(number));
        for await (const { piece, fresh } of followPieces(task, untold, shared.ended, signal)) {
          told.add(piece.number);
          yield { kind: "piece", piece: fresh ? piece : local(piece) };
        }
        const missing = pieceNumbers.find((number) => !task.pieces.has(number));
        if (missing !== undefined) throw pieceMissing(missing);
        return;
      } catch (error) {
        // Whoever began the download may not ask the origin, or has not the right to: our own request may do better.
        if (!mayDoBetter(request, shared.request, error)) throw error;
      } finally {
        shared.riderCount -= 1;
        endUnlessWanted(shared);
      }
      await shared.ended;
    }
  }

  #board(
    request: DownloadRequest,
    trip: { readonly task: StoredTask; readonly rangeable: boolean; readonly peerId: string },
  ): Shared {
    const { task, rangeable, peerId } = trip;
    const { taskId } = task.facts;
    const present = this.#flights.get(taskId);
    // One that is ending may not take our pieces up any more.
    if (
      present !== undefined &&
      present.flight.task === task &&
      !present.ending &&
      !present.flight.over
    ) {
      return present;
    }
    const { dataPlane, origin, scheduler, channel, host, logger, observer } = this.#options;
    const flight = new Flight({
      task,
      registration: registrationOf(request, task, peerId, this.#limits.concurrentPieceCount),
      originRequest: request.origin,
      rangeable,
      dataPlane,
      origin,
      ...(scheduler === undefined ? {} : { scheduler }),
      channel,
      hostId: host.id,
      limits: this.#limits,
      logger,
      ...(observer === undefined ? {} : { observer }),
    });
    const started = Date.now();
    // Pieces are wanted before `run` looks: an empty queue would end at once.
    const ended = Promise.resolve().then(async () => {
      let failed = true;
      observer?.taskStarted();
      try {
        await flight.run();
        failed = false;
        this.#log(flight, started);
        // Nobody is left who would.
        if (shared.riderCount === 0 && !shared.ending && task.complete && !task.sealed)
          this.#inBackground(task.seal(), "could not seal the task");
        return undefined;
      } catch (error) {
        return toError(error);
      } finally {
        observer?.taskEnded({ failed, durationMs: Date.now() - started });
        shared.ending = true;
        if (this.#flights.get(taskId) === shared) this.#flights.delete(taskId);
      }
    });
    const shared: Shared = {
      request,
      flight,
      riderCount: 0,
      childCount: 0,
      forOthers: false,
      ending: false,
      ended,
    };
    this.#flights.set(taskId, shared);
    return shared;
  }

  /** The task on disk, with facts that hold: from the disk when nothing speaks against it, else from the origin. */
  async #prepare(request: DownloadRequest, signal: AbortSignal): Promise<Prepared> {
    const { storage } = this.#options.dataPlane;
    const stored = await storage.openTask(request.taskId);
    const credentials = rightsOf(request);
    if (
      stored !== undefined &&
      !request.revalidate &&
      stored.facts.credentialsDigest === credentials
    ) {
      const wanted = piecesOfRange(stored.facts, request.range?.(stored.facts.contentLength));
      const here = wanted.every((number) => stored.pieces.has(number));
      if (here || this.#flights.get(request.taskId)?.flight.task === stored)
        return { task: stored, rangeable: isProvable(stored.facts) };
    }
    const key = JSON.stringify([request.taskId, credentials, request.revalidate]);
    let preparation = this.#preparing.get(key);
    if (preparation === undefined) {
      const abort = new AbortController();
      const prepared = this.#ask(
        request,
        stored,
        credentials,
        AbortSignal.any([abort.signal, this.#closing.signal]),
      );
      preparation = {
        prepared: prepared.finally(() => this.#forget(key, preparation)),
        abort,
        waiterCount: 0,
      };
      this.#preparing.set(key, preparation);
    }
    preparation.waiterCount += 1;
    try {
      return await abortable(preparation.prepared, signal);
    } finally {
      preparation.waiterCount -= 1;
      if (preparation.waiterCount === 0) {
        // Whoever comes now begins anew, and does not inherit that nobody waited.
        this.#forget(key, preparation);
        preparation.abort.abort(signal.reason);
      }
    }
  }

  #forget(key: string, preparation: Preparation | undefined): void {
    if (this.#preparing.get(key) === preparation) this.#preparing.delete(key);
  }

  async #ask(
    request: DownloadRequest,
    stored: StoredTask | undefined,
    credentials: string,
    signal: AbortSignal,
  ): Promise<Prepared> {
    const { origin } = this.#options;
    let stat: OriginStat;
    try {
      stat = await origin.stat(request.origin, {
        signal,
        onWait: ({ reason, waitMs }) =>
          this.#options.logger.info(
            { taskId: request.taskId, waitMs },
            `waiting for the origin: ${reason}`,
          ),
      });
    } catch (error) {
      // Peers may have what an origin that is down has not, if we know what to ask them for.
      const down = codeOf(error) === "ERR_ORIGIN_UNREACHABLE";
      if (
        !down ||
        stored === undefined ||
        request.revalidate ||
        stored.facts.credentialsDigest !== credentials
      )
        throw error;
      return { task: stored, rangeable: isProvable(stored.facts) };
    }
    if (stat.contentLength === undefined) return await this.#spool(request, credentials, signal);
    return {
      task: await this.#create(request, stat, stat.contentLength, credentials),
      rangeable: stat.rangeable,
    };
  }

  async #create(
    request: DownloadRequest,
    stat: OriginStat,
    contentLength: number,
    credentials: string,
  ): Promise<StoredTask> {
    const { storage } = this.#options.dataPlane;
    const flying = this.#flights.get(request.taskId);
    const stored = flying?.flight.task ?? (await storage.openTask(request.taskId));
    // A copy from a checked origin is good enough for somebody who does not want it checked.
    const unchecked =
      request.origin.insecure === true && stored?.facts.contentVersion !== stat.contentVersion;
    const facts: TaskFacts = {
      taskId: request.taskId,
      url: request.origin.url,
      contentLength,
      pieceLength: request.pieceLength ?? choosePieceLength(contentLength),
      contentVersion: unchecked ? uncheckedVersion(stat.contentVersion) : stat.contentVersion,
      etag: stat.etag,
      lastModified: stat.lastModified,
      responseHeader: stat.responseHeader,
      credentialsDigest: credentials,
      createdAtMs: Date.now(),
    };
    if (flying !== undefined && flying.flight.task.facts.contentVersion !== facts.contentVersion) {
      flying.flight.abort(new OriginMoved());
      await flying.ended;
    }
    await this.#dropUnprovable(facts);
    return await storage.createTask(facts);
  }

  /**
   * Without ETag and Last-Modified nobody can tell whether the first half of a file on disk and the second half at the origin are of one
   * version: what an earlier, broken-off download left is not built upon.
   */
  async #dropUnprovable({ taskId, etag, lastModified }: TaskFacts): Promise<void> {
    if (etag !== "" || lastModified !== "" || this.#flights.has(taskId)) return;
    const { storage } = this.#options.dataPlane;
    const stored = await storage.openTask(taskId);
    if (stored !== undefined && !stored.complete) await storage.deleteTask(taskId);
  }

  /** An origin that does not say how long the file is has to be read to the end before anything else. */
  async #spool(
    request: DownloadRequest,
    credentials: string,
    signal: AbortSignal,
  ): Promise<Prepared> {
    const { stat, spool: received } = await this.#receiveAll(request, signal);
    await using spool = received;
    const task = await this.#create(request, stat, spool.length, credentials);
    await using content = cutContent(spool.read({ offset: 0, length: spool.length }));
    for (let number = 0; number < task.pieceCount; number += 1) {
      const slice = content.next(task.bounds(number).length);
      const piece = await task.writePiece(
        { number, trafficType: "BACK_TO_SOURCE", parentId: "" },
        slice,
      );
      this.#options.observer?.piece(piece);
      for await (const _ of slice);
    }
    return { task, rangeable: false, fresh: true };
  }

  /** The whole body in a spool; a transfer that broke is begun again, since there is nothing to go on from. */
  async #receiveAll(
    request: DownloadRequest,
    signal: AbortSignal,
  ): Promise<{ readonly stat: OriginStat; readonly spool: Spool }> {
    const { origin, dataPlane, observer } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await using body = await origin.readAll(request.origin, { signal });
        const content = countBytes(body.content, (length) => observer?.bytes(length));
        return { stat: body.stat, spool: await dataPlane.storage.spool(content) };
      } catch (error) {
        if (!isPassingFault(error) || attempt === SPOOL_ATTEMPTS_MAX) throw error;
        this.#options.logger.warn(
          { taskId: request.taskId },
          `reading the origin from the start again: ${messageOf(error)}`,
        );
      }
    }
  }

  /** The last steps: the digest, and the file where the user wants it. */
  async #deliver(
    request: DownloadRequest,
    task: StoredTask,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { output } = request;
    // A digest is one of the whole file.
    const digest = range === undefined ? request.digest : undefined;
    try {
      if (output !== undefined) {
        await task.output(output.path, {
          overwrite: output.overwrite,
          forceHardLink: output.forceHardLink,
          ...(range === undefined ? {} : { range }),
          ...(digest === undefined ? {} : { digest }),
          signal,
        });
      } else if (digest !== undefined) {
        const actual = await task.digest(digest.slice(0, digest.indexOf(":")));
        if (actual !== digest) {
          const message = `Cannot deliver the file: its digest is ${actual}, expected ${digest}`;
          throw new DaemonError("ERR_DIGEST_MISMATCH", message);
        }
      }
    } catch (error) {
      if (codeOf(error) !== "ERR_DIGEST_MISMATCH" || request.needBackToSource) throw error;
      const fromPeers = [...task.pieces.values()].some(({ parentId }) => parentId !== "");
      if (!fromPeers || request.disableBackToSource) throw error;
      // Every piece was what its parent said it was: so a parent lied, or its copy is of another file. The origin decides.
      await this.#options.dataPlane.storage.deleteTask(task.facts.taskId);
      throw new PeersLied(error);
    }
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
      durationMs: Date.now() - startedMs,
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

interface Prepared {
  readonly task: StoredTask;
  readonly rangeable: boolean;
  /** What is on disk came from the origin just now, for those who ask. */
  readonly fresh?: boolean;
}

/** Asking the origin what a task is, shared by all who want to know. */
interface Preparation {
  readonly prepared: Promise<Prepared>;
  readonly abort: AbortController;
  waiterCount: number;
}

interface Shared {
  /** Of the caller who began it: whom it asks, and with what rights. */
  readonly request: DownloadRequest;
  readonly flight: Flight;
  /** Callers that wait for it. */
  riderCount: number;
  /** Children that are told of its pieces. */
  childCount: number;
  /** Somebody off this node asked for it: then its children count, too. */
  forOthers: boolean;
  /** It was told to end, or has ended. */
  ending: boolean;
  /** Resolves when the flight has ended, with its failure if it failed. */
  readonly ended: Promise<Error | undefined>;
}

function endUnlessWanted(shared: Shared): void {
  if (shared.riderCount > 0 || (shared.forOthers && shared.childCount > 0)) return;
  shared.ending = true;
  shared.flight.abort(
    new DaemonError("ERR_CLOSED", "Cannot go on: nobody waits for the download any more"),
  );
}

/** The whole is not what the user says it is, though every piece is what a peer said it is. */
class PeersLied extends Error {
  override readonly name = "PeersLied";
  readonly code = "ERR_DIGEST_MISMATCH";
  constructor(cause: unknown) {
    super("Cannot deliver the file: what the peers gave is not the file", { cause });
  }
}

function pieceMissing(number: number): StorageError {
  return new StorageError(
    "ERR_PIECE_MISSING",
    `Cannot deliver piece ${number}: it is not there any more`,
  );
}

/**
 * What a caller may see: who is asking, and whose certificates are believed. Asked for with other rights than those it was fetched with, a
 * copy is asked for at the origin first.
 */
function rightsOf({ origin }: DownloadRequest): string {
  const credentials = credentialsDigest(origin.header);
  if (origin.caCert === undefined && origin.insecure !== true) return credentials;
  const trust = origin.insecure === true ? "unchecked" : origin.caCert;
  return createHash("sha256")
    .update(JSON.stringify([credentials, trust]))
    .digest("hex");
}

/** Whether a download that failed on one request may succeed on another one for the same task. */
function mayDoBetter(own: DownloadRequest, failed: DownloadRequest, error: unknown): boolean {
  const code = codeOf(error);
  if (own === failed) return false;
  if (code === "ERR_NO_SOURCE") return failed.disableBackToSource && !own.disableBackToSource;
  if (code !== "ERR_ORIGIN_STATUS" && code !== "ERR_ORIGIN_TLS") return false;
  return own.origin.url !== failed.origin.url || rightsOf(own) !== rightsOf(failed);
}

/** What happened to a download that is worth beginning again; undefined for every other failure. */
function whyAnew(error: unknown): string | undefined {
  const code = codeOf(error);
  if (code === "ERR_ORIGIN_CHANGED") return "the origin changed the file";
  if (error instanceof PeersLied) return "the peers gave another file";
  if (!(error instanceof StorageError)) return undefined;
  if (code === "ERR_TASK_GONE") return "the task was deleted";
  if (code === "ERR_PIECE_MISSING") return "the file on disk was changed by somebody else";
  return undefined;
}

function local(piece: PieceRecord): PieceRecord {
  return { ...piece, trafficType: "LOCAL_PEER" };
}

function registrationOf(
  request: DownloadRequest,
  task: StoredTask,
  peerId: string,
  concurrentPieceCount: number,
): PeerRegistration {
  const { facts } = task;
  const range = request.range?.(facts.contentLength);
  return {
    taskId: facts.taskId,
    peerId,
    contentVersion: facts.contentVersion,
    ...(range === undefined ? {} : { range }),
    url: request.origin.url,
    ...(request.digest === undefined ? {} : { digest: request.digest }),
    tag: request.tag,
    application: request.application,
    priority: request.priority,
    filteredQueryParams: request.filteredQueryParams,
    ...(request.pieceLength === undefined ? {} : { requestedPieceLength: request.pieceLength }),
    contentLength: facts.contentLength,
    pieceLength: facts.pieceLength,
    pieceCount: task.pieceCount,
    concurrentPieceCount,
    needBackToSource: request.needBackToSource,
    disableBackToSource: request.disableBackToSource,
    requestHeader: request.origin.header,
  };
}

async function abortable<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  let onAbort: () => void = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(toError(signal.reason));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
