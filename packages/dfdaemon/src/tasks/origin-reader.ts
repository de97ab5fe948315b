import type { PieceRecord, StoredTask, TaskFacts } from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import type { ContentSlice } from "../data-plane/content-stream.ts";
import type { DataPlane, OriginContent, OriginRead } from "../data-plane/data-plane.ts";
import { contentVersion } from "../origins/content-version.ts";
import type { OriginRequest } from "../origins/origin.ts";
import { canTellVersionsApart } from "../origins/validators.ts";
import type { PieceQueue } from "../parents/piece-queue.ts";
import { toError } from "../to-error.ts";
import { originVersion } from "./file-version.ts";

/** Tries for one piece whose transfer broke; the origin's own retries happen below this. */
const ATTEMPTS_MAX = 3;
/** Faults of one transfer that another try may mend. */
const PASSING_FAULTS = new Set([
  "ERR_ORIGIN_TRUNCATED",
  "ERR_ORIGIN_STALLED",
  "ERR_ORIGIN_UNREACHABLE",
  "ERR_ORIGIN_OVERLONG",
  "ERR_DATA_PLANE_LOST",
]);

export interface OriginReaderOptions {
  readonly task: StoredTask;
  /** Shared with the parents' side; whose offers it holds does not matter here. */
  readonly queue: PieceQueue<unknown>;
  readonly dataPlane: Pick<DataPlane, "readOrigin">;
  readonly request: OriginRequest;
  readonly rangeable: boolean;
  /** Range requests at once. */
  readonly concurrentPieceCount: number;
  readonly signal: AbortSignal;
  /** Milliseconds. */
  readonly now: () => number;
  readonly events: {
    changed(): void;
    progressed(length: number): void;
    pieceFinished(piece: PieceRecord): void;
    /** The origin, or our disk, has failed for good. */
    broke(error: Error): void;
  };
}

/** A body that is open. Times are of the clock that was given, in milliseconds. */
export interface OpenBody {
  /** Of the piece that it has come to. */
  readonly number: number;
  /** When a byte of it last came; when it was opened, if none has. */
  readonly movedMs: number;
  /** For how long bytes have been waited for since. */
  readonly silentMs: number;
}

type Body = { -readonly [Key in keyof OpenBody]: OpenBody[Key] };

/** Fetches from the origin what no parent offers: by ranges, several at once, or in one go where the origin serves no ranges. */
export class OriginReader implements AsyncDisposable {
  readonly #options: OriginReaderOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #bodies = new Set<Body>();
  readonly #attempts = new Map<number, number>();
  #sequential: boolean;
  #sequentialAttempts = 0;
  #broken = false;

  constructor(options: OriginReaderOptions) {
    this.#options = options;
    this.#sequential = !options.rangeable;
  }

  /** Requests in flight. */
  get inFlight(): number {
    return this.#running.size;
  }

  /** Bodies whose header has come, and that are not over. */
  get bodies(): readonly OpenBody[] {
    return [...this.#bodies];
  }

  /** The origin serves ranges, as far as is known. */
  get isRanged(): boolean {
    return !this.#sequential;
  }

  /**
   * Starts what there is to start.
   *
   * @param options.offeredCount also so many pieces that parents offer and nobody fetches
   * @param options.atRandom as in `takeUnoffered`
   */
  pump({
    offeredCount = 0,
    atRandom = false,
  }: { readonly offeredCount?: number; readonly atRandom?: boolean } = {}): void {
    const { queue, concurrentPieceCount, signal } = this.#options;
    if (this.#broken || signal.aborted) return;
    if (this.#sequential) {
      if (this.#running.size > 0) return;
      const number = queue.takeUnoffered() ?? (offeredCount > 0 ? queue.takeLowest() : undefined);
      if (number === undefined) return;
      queue.fail(number);
      this.#start(this.#readAll());
      return;
    }
    let offeredLeft = offeredCount;
    while (this.#running.size < concurrentPieceCount) {
      let number = queue.takeUnoffered({ atRandom });
      if (number === undefined && offeredLeft > 0) {
        offeredLeft -= 1;
        number = queue.takeLowest();
      }
      if (number === undefined) return;
      this.#start(this.#readPiece(number));
    }
  }

  /** Waits for what runs; the signal is what stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #start(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#break(toError(error)))
      .finally(() => {
        this.#running.delete(tracked);
        this.#options.events.changed();
      });
    this.#running.add(tracked);
  }

  async #readPiece(number: number): Promise<void> {
    const { request, task, queue, signal, events } = this.#options;
    const { etag, lastModified, contentLength } = task.facts;
    try {
      const range = { ...task.bounds(number), expected: { etag, lastModified, contentLength } };
      await using opened = await this.#open({ request, range, signal }, number);
      const { content } = opened.body.all();
      const piece = await task.writePiece(draft(number), content);
      queue.done(number);
      events.pieceFinished(piece);
    } catch (error) {
      queue.fail(number);
      if (codeOf(error) === "ERR_ORIGIN_NO_RANGES") {
        this.#sequential = true;
        return;
      }
      const attempts = (this.#attempts.get(number) ?? 0) + 1;
      this.#attempts.set(number, attempts);
      if (!isPassingFault(error) || attempts >= ATTEMPTS_MAX) throw error;
    }
  }

  /** One body from start to end: pieces that are wanted and free are written, the others read past. */
  async #readAll(): Promise<void> {
    const { request, task, queue, signal } = this.#options;
    // What an earlier reading wrote, or others gave, cannot be told from another version: see isProvable.
    if (!isProvable(task.facts) && task.pieces.size > 0) throw new OriginMoved();
    try {
      await using opened = await this.#open({ request, signal }, 0);
      const { body, at } = opened;
      // An origin may say how long the file is when it is asked for a part, and not when it sends all of it.
      const { contentLength } = task.facts;
      const version =
        body.stat.contentLength === undefined
          ? contentVersion({ ...body.stat, contentLength })
          : body.stat.contentVersion;
      if (version !== originVersion(task.facts.contentVersion)) throw new OriginMoved();
      for (let number = 0; number < task.pieceCount; number += 1) {
        if (queue.finished) return;
        at.number = number;
        const slice = body.next(task.bounds(number).length);
        if (queue.takeNumber(number)) await this.#writeSlice(number, slice);
        await slice.rest();
      }
      // Past the last piece there must be nothing: the body checks its own length at the end.
      await body.end();
    } catch (error) {
      this.#sequentialAttempts += 1;
      if (!isPassingFault(error) || this.#sequentialAttempts >= ATTEMPTS_MAX) throw error;
    }
  }

  /** @param number of the piece that it begins with */
  async #open(
    read: Pick<OriginRead, "request" | "range" | "signal">,
    number: number,
  ): Promise<AsyncDisposable & { readonly body: OriginContent; readonly at: Body }> {
    const { dataPlane, events, now } = this.#options;
    const at: Body = { number, movedMs: 0, silentMs: 0 };
    const body = await dataPlane.readOrigin({
      ...read,
      onBytes: (length) => {
        at.movedMs = now();
        at.silentMs = 0;
        events.progressed(length);
      },
      onWaited: (ms) => {
        at.silentMs += ms;
      },
    });
    at.movedMs = now();
    this.#bodies.add(at);
    return {
      body,
      at,
      [Symbol.asyncDispose]: async () => {
        this.#bodies.delete(at);
        await body[Symbol.asyncDispose]();
      },
    };
  }

  async #writeSlice(number: number, { content }: ContentSlice): Promise<void> {
    const { task, queue, events } = this.#options;
    try {
      const piece = await task.writePiece(draft(number), content);
      queue.done(number);
      events.pieceFinished(piece);
    } catch (error) {
      queue.fail(number);
      throw error;
    }
  }

  #break(error: Error): void {
    if (this.#broken || this.#options.signal.aborted) return;
    this.#broken = true;
    this.#options.events.broke(error);
  }
}

/**
 * Whether bytes of this task read at different times can be told to be of one version. Where they cannot, the file is read in one go, and
 * never put together from pieces of several readings.
 */
export function isProvable({
  etag,
  lastModified,
  responseHeader,
}: Pick<TaskFacts, "etag" | "lastModified" | "responseHeader">): boolean {
  return canTellVersionsApart({ etag, lastModified, date: responseHeader["date"] ?? "" });
}

/** Whether another try at the same bytes makes sense. */
export function isPassingFault(error: unknown): boolean {
  return PASSING_FAULTS.has(codeOf(error));
}

/** The origin now serves something else than the task was started with. */
export class OriginMoved extends Error {
  override readonly name = "OriginMoved";
  readonly code = "ERR_ORIGIN_CHANGED";
  constructor() {
    super("Cannot go on reading the origin: it now serves another version of the file");
  }
}

function draft(number: number): {
  number: number;
  trafficType: "BACK_TO_SOURCE";
  parentId: string;
} {
  return { number, trafficType: "BACK_TO_SOURCE", parentId: "" };
}
