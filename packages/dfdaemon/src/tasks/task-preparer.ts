import { KeyedSerial, type Spool, type StoredTask, type TaskFacts } from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import type { DataPlane, SpooledOrigin } from "../data-plane/data-plane.ts";
import { DaemonError } from "../errors.ts";
import { choosePieceLength } from "../identity/piece-length.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { Origin, OriginStat } from "../origins/origin.ts";
import { redactUrl } from "../origins/redact-url.ts";
import { toError } from "../to-error.ts";
import { mayDoBetter } from "./begin-anew.ts";
import { piecesOfRange } from "./byte-range.ts";
import type { DownloadRequest } from "./download-request.ts";
import { namedVersion, uncheckedVersion } from "./file-version.ts";
import type { FlightObserver } from "./flight.ts";
import { isIdOfUrl, isSameSource, sourceOf } from "./is-same-source.ts";
import { isPassingFault, isProvable, OriginMoved } from "./origin-reader.ts";
import { mayFill, rightsOf } from "./rights-of.ts";
import { joinSignals } from "../join-signals.ts";

/** How often a body that cannot be resumed is asked for; and a piece read from its spool. */
const SPOOL_ATTEMPTS_MAX = 3;

/** A task whose facts are known, so that its pieces can be fetched. */
export interface Prepared {
  readonly task: StoredTask;
  readonly rangeable: boolean;
  /** What is on disk came from the origin just now, for those who ask. */
  readonly fresh?: boolean;
  /** The origin says for the first time what the digest of the file is. */
  readonly digestIsNews?: boolean;
  /** When the reading of all of it began; absent: it was not read for this. Unix milliseconds. */
  readonly readFromMs?: number;
}

export interface TaskPreparerOptions {
  readonly dataPlane: Pick<DataPlane, "storage" | "spoolOrigin" | "openSpool">;
  readonly origin: Pick<Origin, "stat">;
  /** The download of a task under way, if there is one. */
  readonly flightOf: (taskId: string) => RunningFlight | undefined;
  /** Ends every question to an origin. */
  readonly closing: AbortSignal;
  readonly logger: Logger;
  readonly observer?: FlightObserver;
}

/** Hears how a preparation gets on. */
export interface PreparationWatch {
  /** Bytes come: of a file whose length nobody knows before. */
  moved(): void;
}

export interface RunningFlight {
  readonly task: StoredTask;
  /** It fetches nothing any more, and has not ended yet. */
  readonly isOver: boolean;
  abort(reason: Error): void;
  readonly ended: Promise<unknown>;
}

/** Finds out what a task is: from the disk, else from its origin. Several callers of one task share one question. */
export class TaskPreparer {
  readonly #options: TaskPreparerOptions;
  readonly #preparing = new Map<string, Preparation>();
  /** By task: what one writes of a reading is whole before another one looks whether it is good for him. */
  readonly #turns = new KeyedSerial();

  constructor(options: TaskPreparerOptions) {
    this.#options = options;
  }

  /** The task on disk, with facts that hold: from the disk when nothing speaks against it, else from the origin. */
  async prepare(
    request: DownloadRequest,
    signal: AbortSignal,
    watch?: PreparationWatch,
  ): Promise<Prepared> {
    for (;;) {
      const { prepared, asker } = await this.#prepareOnce(request, signal, watch);
      const { readFromMs } = prepared;
      const isCurrent = readFromMs === undefined || readFromMs >= (request.askedAtMs ?? 0);
      if (isCurrent || asker === request || !isBlind(request, prepared.task.facts)) return prepared;
      // Somebody else's reading, which had begun before this was asked for: of what was there then. The next one begins now, or has a moment ago.
    }
  }

  /** @returns also for whose request it was found out */
  async #prepareOnce(
    request: DownloadRequest,
    signal: AbortSignal,
    watch?: PreparationWatch,
  ): Promise<{ readonly prepared: Prepared; readonly asker: DownloadRequest }> {
    const { flightOf } = this.#options;
    const stored = await this.#openStored(request);
    const credentials = rightsOf(request);
    if (
      stored !== undefined &&
      !request.revalidate &&
      stored.facts.credentialsDigest === credentials
    ) {
      const isComing = flightOf(request.taskId)?.task === stored;
      const wanted = wantedOf(request, stored);
      if (wanted?.every((number) => isComing || stored.pieces.has(number)) === true) {
        const prepared = { task: stored, rangeable: isProvable(stored.facts) };
        return { prepared, asker: request };
      }
    }
    const { taskId, revalidate, inOneGo = false, disableBackToSource, metadataOnly } = request;
    if (metadataOnly && request.forOthers === true && stored?.complete !== true)
      throw notHere(taskId);
    const source = sourceOf(request.origin.url);
    const kind = [revalidate, inOneGo, disableBackToSource, metadataOnly];
    const key = JSON.stringify([taskId, source, credentials, ...kind]);
    for (;;) {
      const preparation =
        this.#preparing.get(key) ?? this.#begin(key, request, stored, credentials);
      try {
        const prepared = await this.#await(key, preparation, signal, watch);
        return { prepared, asker: preparation.asker };
      } catch (error) {
        // Whoever asked first was refused, with his own URL: with ours the origin may do better.
        if (!mayDoBetter(request, preparation.asker, error)) throw error;
      }
    }
  }

  #begin(
    key: string,
    asker: DownloadRequest,
    stored: StoredTask | undefined,
    credentials: string,
  ): Preparation {
    const abort = new AbortController();
    const joined = joinSignals(abort.signal, this.#options.closing);
    const watches = new Set<PreparationWatch>();
    const prepared = this.#ask(asker, stored, credentials, {
      signal: joined.signal,
      watch: {
        moved: () => watches.forEach((each) => each.moved()),
      },
    });
    const preparation: Preparation = {
      asker,
      prepared: prepared.finally(() => {
        joined[Symbol.dispose]();
        this.#forget(key, preparation);
      }),
      abort,
      watches,
      waiterCount: 0,
    };
    // Whoever waits is told; of those who have left by now nobody does.
    preparation.prepared.catch(() => {});
    this.#preparing.set(key, preparation);
    return preparation;
  }

  /** Its answer; it is given up when nobody waits for that any more. */
  async #await(
    key: string,
    preparation: Preparation,
    signal: AbortSignal,
    watch: PreparationWatch | undefined,
  ): Promise<Prepared> {
    preparation.waiterCount += 1;
    if (watch !== undefined) preparation.watches.add(watch);
    try {
      return await abortable(preparation.prepared, signal);
    } finally {
      preparation.waiterCount -= 1;
      if (watch !== undefined) preparation.watches.delete(watch);
      if (preparation.waiterCount === 0) {
        // Whoever comes now begins anew, and does not inherit that nobody waited.
        this.#forget(key, preparation);
        preparation.abort.abort(signal.reason);
      }
    }
  }

  /** What is on disk, unless it was read elsewhere, under an id that says something else: then it is removed. */
  async #openStored(request: DownloadRequest): Promise<StoredTask | undefined> {
    const { dataPlane, flightOf, logger } = this.#options;
    const { storage } = dataPlane;
    const stored = await storage.openTask(request.taskId);
    if (stored === undefined || isSameSource(request, stored.facts.url)) return stored;
    logger.warn(
      {
        taskId: request.taskId,
        wanted: redactUrl(request.origin.url),
        from: redactUrl(stored.facts.url),
      },
      "what is stored under this id was read from another URL: removing it",
    );
    const flying = flightOf(request.taskId);
    flying?.abort(new OriginMoved());
    await flying?.ended;
    await storage.deleteTask(request.taskId);
    return undefined;
  }

  #forget(key: string, preparation: Preparation): void {
    if (this.#preparing.get(key) === preparation) this.#preparing.delete(key);
  }

  async #ask(
    request: DownloadRequest,
    stored: StoredTask | undefined,
    credentials: string,
    options: PreparationOptions,
  ): Promise<Prepared> {
    const { origin } = this.#options;
    if (request.inOneGo === true) return await this.#spool(request, credentials, options);
    let stat: OriginStat;
    try {
      stat = await origin.stat(request.origin, { signal: options.signal });
    } catch (error) {
      // Peers may have what an origin that is down has not, if we know what to ask them for.
      const down = ["ERR_ORIGIN_UNREACHABLE", "ERR_ORIGIN_SUSPENDED"].includes(codeOf(error));
      if (
        !down ||
        stored === undefined ||
        request.revalidate ||
        stored.facts.credentialsDigest !== credentials
      )
        throw error;
      // Which has room reserved for the rest of it.
      const { storage } = this.#options.dataPlane;
      const reserves = !request.metadataOnly;
      const task = await this.#inTurn(request, options, () =>
        storage.createTask(stored.facts, { reserves }),
      );
      return { task, rangeable: isProvable(stored.facts) };
    }
    if (isBlind(request, stat)) {
      const read = await this.#openStored(request);
      if (
        read !== undefined &&
        isReadFor(request, read) &&
        read.facts.credentialsDigest === credentials
      )
        return { task: read, rangeable: false, readFromMs: read.facts.createdAtMs };
      return await this.#spool(request, credentials, options);
    }
    if (stat.contentLength === undefined) return await this.#spool(request, credentials, options);
    const { rangeable, contentLength } = stat;
    const about = { contentLength, credentials, createdAtMs: Date.now() };
    return await this.#inTurn(request, options, async () => {
      const { task, digestIsNews } = await this.#create(request, stat, about);
      return { task, digestIsNews, rangeable };
    });
  }

  async #create(
    request: DownloadRequest,
    stat: OriginStat,
    about: {
      readonly contentLength: number;
      readonly credentials: string;
      /** When this was what the origin has. Unix milliseconds. */
      readonly createdAtMs: number;
    },
  ): Promise<Created> {
    const { contentLength, credentials, createdAtMs } = about;
    const { storage } = this.#options.dataPlane;
    const before = await this.#openStored(request);
    const flying = this.#options.flightOf(request.taskId);
    const stored = flying?.task ?? before;
    const isNamed = !isIdOfUrl(request);
    const version = isNamed ? namedVersion(stat.contentVersion) : stat.contentVersion;
    const { insecure = false } = request.origin;
    // A copy from a checked origin is good enough for somebody who does not want it checked, if what is missing of it comes from there, too.
    const isFilled = stored?.complete === true || flying?.isOver === false;
    const isSame = stored?.facts.contentVersion === version;
    const isChecked =
      !insecure || (isSame && isFilled && this.#mayKeep(stored, request, { ...stat, createdAtMs }));
    const known = stored?.facts.contentDigests;
    const said = stat.digests.map(({ digest }) => digest);
    // What an unchecked origin says is nothing to judge a copy from a checked one by.
    const contentDigests = insecure && isChecked ? known : said;
    const facts: TaskFacts = {
      taskId: request.taskId,
      url: request.origin.url,
      contentLength,
      pieceLength: request.pieceLength ?? choosePieceLength(contentLength),
      contentVersion: isChecked ? version : uncheckedVersion(version),
      etag: stat.etag,
      lastModified: stat.lastModified,
      responseHeader: stat.responseHeader,
      ...(contentDigests === undefined || contentDigests.length === 0 ? {} : { contentDigests }),
      credentialsDigest: credentials,
      createdAtMs,
    };
    await this.#endOthers(request, facts);
    let isKept = false;
    const task = await storage.createTask(facts, {
      mayKeep: (copy) => (isKept = this.#mayKeep(copy, request, facts)),
      reserves: !request.metadataOnly,
    });
    return { task, digestIsNews: contentDigests?.[0] !== known?.[0], isKept };
  }

  /** Ends the download under way that fetches something else than what there is now, and the next one, which began while that one ended. */
  async #endOthers(request: DownloadRequest, facts: TaskFacts): Promise<void> {
    for (;;) {
      const flying = this.#options.flightOf(facts.taskId);
      const isOther = flying?.task.facts.contentVersion !== facts.contentVersion;
      if (flying === undefined || !(isOther || isBlind(request, facts))) return;
      flying.abort(new OriginMoved());
      await flying.ended;
    }
  }

  /**
   * Whether a copy that is here is built upon, now that the origin has been asked. Where versions cannot be told apart, nobody knows whether the
   * first half of a file on disk and the second half at the origin are of one version, nor whether a whole copy is still the present one: what
   * was read before it was asked for is not built upon.
   */
  #mayKeep(copy: StoredTask, request: DownloadRequest, present: PresentFacts): boolean {
    if (isProvable(copy.facts) && (copy.complete || isProvable(present))) return true;
    if (isBlind(request, present)) return isReadFor(request, copy);
    const flying = this.#options.flightOf(request.taskId);
    // Whoever began the download that is under way has asked just as well.
    if (flying?.task === copy && !flying.isOver) return true;
    const { askedAtMs = present.createdAtMs } = request;
    return copy.complete && copy.facts.createdAtMs >= askedAtMs;
  }

  /** An origin that does not say how long the file is has to be read to the end before anything else. */
  async #spool(
    request: DownloadRequest,
    credentials: string,
    options: PreparationOptions,
  ): Promise<Prepared> {
    if (request.metadataOnly) throw notToldUnread(request.origin.url);
    const createdAtMs = Date.now();
    const { stat, spool: received } = await this.#receiveAll(request, options);
    await using spool = received;
    const about = { contentLength: spool.length, credentials, createdAtMs };
    return await this.#inTurn(request, options, async () => {
      const { isKept, ...created } = await this.#create(request, stat, about);
      const { task } = created;
      const { contentVersion, createdAtMs: readFromMs } = task.facts;
      // What is missing of a checked copy comes from a checked origin, and what is missing of one reading from no other one: the download sees to that.
      const isOne = !isKept || isProvable(task.facts);
      if (!isOne || !mayFill(request, contentVersion))
        return { ...created, rangeable: false, readFromMs };
      // However long that takes, nobody is to have it make way, or be promised the room that it needs.
      const release = task.retain();
      try {
        await this.#cut(spool, task, options);
      } finally {
        release();
      }
      return { ...created, rangeable: false, fresh: true, readFromMs };
    });
  }

  async #inTurn<Value>(
    { taskId }: DownloadRequest,
    { signal }: PreparationOptions,
    work: () => Promise<Value>,
  ): Promise<Value> {
    return await this.#turns.run(taskId, async () => {
      signal.throwIfAborted();
      return await work();
    });
  }

  /** Writes what was spooled, piece after piece. The spool outlives a process that reads it: another one goes on with the piece that it was at. */
  async #cut(spool: Spool, task: StoredTask, { watch }: PreparationOptions): Promise<void> {
    const { dataPlane, observer, logger } = this.#options;
    let number = 0;
    let attempt = 0;
    while (number < task.pieceCount) {
      attempt += 1;
      try {
        await using stream = await dataPlane.openSpool(spool);
        const { offset } = task.bounds(number);
        if (offset > 0) await stream.next(offset).rest();
        for (; number < task.pieceCount; number += 1, attempt = 1) {
          const slice = stream.next(task.bounds(number).length);
          const piece = await task.writePiece(
            { number, trafficType: "BACK_TO_SOURCE", parentId: "" },
            slice.content,
          );
          await slice.rest();
          observer?.piece(piece, piece.length);
          watch.moved();
        }
      } catch (error) {
        if (codeOf(error) !== "ERR_DATA_PLANE_LOST" || attempt === SPOOL_ATTEMPTS_MAX) throw error;
        const { taskId } = task.facts;
        logger.warn(
          { taskId },
          `reading the spool again from piece ${number}: ${messageOf(error)}`,
        );
      }
    }
  }

  /** The whole body in a spool; a transfer that broke is begun again, since there is nothing to go on from. */
  async #receiveAll(
    request: DownloadRequest,
    { signal, watch }: PreparationOptions,
  ): Promise<SpooledOrigin> {
    const { dataPlane, observer } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await dataPlane.spoolOrigin({
          request: request.origin,
          signal,
          onBytes: (length) => {
            watch.moved();
            observer?.bytes(length);
          },
        });
      } catch (error) {
        if (!isPassingFault(error) || attempt === SPOOL_ATTEMPTS_MAX) throw error;
        this.#options.logger.warn(
          { taskId: request.taskId },
          `reading the origin from the start again: ${messageOf(error)}`,
        );
      }
    }
  }
}

/** Another host wants to know what is here, for which no origin is asked. */
function notHere(taskId: string): DaemonError {
  return new DaemonError(
    "ERR_NOT_HERE",
    `Cannot say what task ${taskId} is: not all of it is here, as is expected of who is asked`,
  );
}

function notToldUnread(url: string): DaemonError {
  return new DaemonError(
    "ERR_UNSUPPORTED",
    `Cannot say what ${redactUrl(url)} is without fetching it: its origin does not say its length, or nothing of its version, so all of it would have to be read`,
  );
}

/** The pieces of a copy that are asked for; undefined: what is asked for lies beyond its end, and the file may have grown. */
function wantedOf({ range }: DownloadRequest, { facts }: StoredTask): number[] | undefined {
  try {
    return piecesOfRange(facts, range?.(facts.contentLength));
  } catch (error) {
    if (codeOf(error) === "ERR_RANGE") return undefined;
    throw error;
  }
}

/**
 * Whether somebody wants what the origin has now, and nothing tells whether what others have, or what is here, is that: then all of it is read
 * at the origin.
 */
function isBlind(
  { revalidate, disableBackToSource }: DownloadRequest,
  facts: Pick<TaskFacts, "etag" | "lastModified" | "responseHeader">,
): boolean {
  return revalidate && !disableBackToSource && !isProvable(facts);
}

/** What an origin has said of a file. */
type PresentFacts = Pick<TaskFacts, "etag" | "lastModified" | "responseHeader" | "createdAtMs">;

/** Whether all of it was read at the origin since it was asked for. */
function isReadFor({ askedAtMs }: DownloadRequest, task: StoredTask): boolean {
  const isSince = askedAtMs !== undefined && task.facts.createdAtMs >= askedAtMs;
  return (
    isSince && task.complete && [...task.pieces.values()].every(({ parentId }) => parentId === "")
  );
}

/** A task that pieces can be added to. */
interface Created {
  readonly task: StoredTask;
  readonly digestIsNews: boolean;
  /** It was here before, or is being fetched: it may have pieces, or get some that others read. */
  readonly isKept: boolean;
}

/** Asking the origin what a task is, shared by all who want to know. */
interface Preparation {
  /** Whose request the origin is asked with. */
  readonly asker: DownloadRequest;
  readonly prepared: Promise<Prepared>;
  readonly abort: AbortController;
  readonly watches: Set<PreparationWatch>;
  waiterCount: number;
}

interface PreparationOptions {
  readonly signal: AbortSignal;
  readonly watch: PreparationWatch;
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
