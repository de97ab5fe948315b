import { combineCrc32 } from "./combine-crc32.ts";
import type { StorageContext } from "./context.ts";
import { createDigester } from "./digester.ts";
import { type DigestThread, type FileDigest, ThreadLost } from "./digest-thread.ts";
import { toStorageError } from "./errors.ts";
import type { ByteRange } from "./read-content.ts";
import type { PieceRecord } from "./storage.ts";
import type { TaskContent } from "./task-content.ts";

/** What digests are of. */
export interface DigestedTask {
  readonly taskId: string;
  /** Bytes in the whole file. */
  readonly length: number;
  /** Bytes in every piece but the last. */
  readonly pieceLength: number;
  readonly pieces: ReadonlyMap<number, PieceRecord>;
  readonly content: Pick<TaskContent, "acquire" | "check" | "epoch">;
  read(range?: ByteRange): AsyncIterable<Uint8Array>;
  /** @throws {StorageError} unless every piece is there */
  assertReadable(): Promise<void>;
  /** @throws {StorageError} `ERR_TASK_GONE` */
  assertUsable(): void;
}

export interface DigestContext extends Pick<StorageContext, "logger"> {
  readonly digestThread: Pick<DigestThread, "open">;
}

/**
 * Digests of the whole content of a task. One that is expected is computed as the content comes, as far as it comes in order, so that little is
 * left to do at its end; each is remembered as long as the bytes are the same, as far as stat can tell, for those who are content with that.
 *
 * CRC-32 of pieces that have just come costs nothing: it follows from theirs. The others are computed by the storage's `DigestThread`, unless
 * the content is short, or the thread is lost.
 */
export class ContentDigests {
  readonly #task: DigestedTask;
  readonly #context: DigestContext;
  /** By algorithm. */
  readonly #running = new Map<string, RunningDigest>();
  /** Every piece has come since then, as `performance.now()` has it; some were here before this process: at no time. */
  #emptyAtMs = -Infinity;
  #lostCount = 0;

  constructor(task: DigestedTask, context: DigestContext) {
    this.#task = task;
    this.#context = context;
    this.#noteEmpty();
  }

  /** As `StoredTask.expectDigest` has it. */
  expect(algorithm: string): void {
    createDigester(algorithm);
    this.#noteEmpty();
    if (algorithm === "crc32" || this.#task.length <= SHORT_LENGTH) return;
    void this.#advance(this.#runningOf(algorithm, -Infinity));
  }

  /** As `StoredTask.digest` has it. */
  async digest(
    algorithm: string,
    { sinceMs = -Infinity }: { readonly sinceMs?: number } = {},
  ): Promise<string> {
    const task = this.#task;
    createDigester(algorithm); // which refuses what it does not know
    for (;;) {
      await task.assertReadable();
      if (algorithm === "crc32" && this.#emptyAtMs >= sinceMs) {
        const combined = this.#combined();
        if (combined !== undefined) return combined;
      }
      const running = this.#runningOf(algorithm, sinceMs);
      running.result ??= this.#complete(running);
      const digest = await running.result;
      // Bytes that have changed meanwhile are nobody's, and those of before are not for who wants later ones: from the start again.
      if (digest !== undefined && running.startedMs >= sinceMs) return digest;
    }
  }

  /** A piece has come. What is computed already is of other pieces. */
  advance(): void {
    for (const running of this.#running.values()) void this.#advance(running);
  }

  /** A piece is gone, or the task is: what is computed may be of it. */
  forget(): void {
    for (const { file } of this.#running.values()) file?.close();
    this.#running.clear();
  }

  #noteEmpty(): void {
    if (this.#task.pieces.size === 0) this.#emptyAtMs = performance.now();
  }

  /** One that is too old is ended, but not while somebody waits for it: else with one asker after the other nobody would ever get any. */
  #runningOf(algorithm: string, sinceMs: number): RunningDigest {
    const { epoch } = this.#task.content;
    const present = this.#running.get(algorithm);
    if (present?.epoch === epoch && (present.startedMs >= sinceMs || present.isAwaited))
      return present;
    present?.file?.close();
    const startedMs = performance.now();
    const running = {
      algorithm,
      epoch,
      startedMs,
      position: 0,
      isAdvancing: false,
      isAwaited: false,
    };
    this.#running.set(algorithm, running);
    return running;
  }

  /** Undefined: it was about bytes that have changed meanwhile, or its thread is lost; it is to be computed from the start. */
  async #complete(running: RunningDigest): Promise<string | undefined> {
    const task = this.#task;
    const { algorithm } = running;
    running.isAwaited = true;
    try {
      const inThread = task.length > SHORT_LENGTH && this.#lostCount < LOST_MAX;
      if (inThread) await this.#advance(running);
      const { failure } = running;
      if (failure instanceof ThreadLost) throw failure;
      // What the thread could not read is read here: that withdraws what cannot be read at all, and shows what somebody has changed.
      const isThreads = inThread && failure === undefined;
      const digest = isThreads ? await this.#finish(running) : await this.#read(algorithm);
      await task.content.check();
      return digest !== undefined && this.#isCurrent(running) ? digest : this.#drop(running);
    } catch (error) {
      this.#drop(running);
      task.assertUsable();
      if (!(error instanceof ThreadLost))
        throw toStorageError(`compute the digest of task ${task.taskId}`, error);
      this.#lostCount += 1;
      if (this.#lostCount === LOST_MAX) {
        const { taskId } = task;
        this.#context.logger.warn(
          { taskId, err: error },
          "digests are computed in the main thread",
        );
      }
      return undefined;
    } finally {
      running.isAwaited = false;
    }
  }

  async #finish(running: RunningDigest): Promise<string | undefined> {
    return running.position === this.#task.length ? await running.file?.finish() : undefined;
  }

  async #read(algorithm: string): Promise<string> {
    const digester = createDigester(algorithm);
    for await (const chunk of this.#task.read()) digester.update(chunk);
    return digester.text();
  }

  /** Takes in what has come behind what has been taken in; one call at a time for each digest, and the next one waits for it. */
  async #advance(running: RunningDigest): Promise<void> {
    if (!running.isAdvancing) running.advancing = this.#takeIn(running);
    await running.advancing;
  }

  async #takeIn(running: RunningDigest): Promise<void> {
    const { content } = this.#task;
    running.isAdvancing = true;
    try {
      while (this.#isCurrent(running) && running.failure === undefined) {
        const length = this.#lengthFrom(running.position);
        if (length === 0) return;
        running.file ??= this.#context.digestThread.open(running.algorithm);
        const file = await content.acquire();
        try {
          const { position } = running;
          const { fd } = file.handle;
          if (fd === undefined)
            throw new ThreadLost("Cannot compute digest: there is no descriptor");
          await running.file.update(fd, { position, length });
        } finally {
          file.release();
        }
        running.position += length;
      }
    } catch (error) {
      // Told to whoever wants the digest.
      running.failure = error instanceof Error ? error : new Error(String(error));
      running.file?.close();
    } finally {
      running.isAdvancing = false;
    }
  }

  #isCurrent(running: RunningDigest): boolean {
    const { epoch } = this.#task.content;
    return this.#running.get(running.algorithm) === running && running.epoch === epoch;
  }

  #drop(running: RunningDigest): undefined {
    running.file?.close();
    if (this.#running.get(running.algorithm) === running) this.#running.delete(running.algorithm);
    return undefined;
  }

  /** Bytes that are there from a position on, of as many as are taken in at a time. */
  #lengthFrom(position: number): number {
    const { length, pieceLength, pieces } = this.#task;
    const end = Math.min(length, position + STEP_LENGTH);
    let reached = position;
    while (reached < end) {
      const number = Math.floor(reached / pieceLength);
      if (!pieces.has(number)) break;
      reached = Math.min((number + 1) * pieceLength, end);
    }
    return reached - position;
  }

  /** Undefined: a piece has a digest of another kind. */
  #combined(): string | undefined {
    const parts: { readonly crc32: number; readonly length: number }[] = [];
    for (let number = 0; parts.length < this.#task.pieces.size; number++) {
      const { digest = "", length = 0 } = this.#task.pieces.get(number) ?? {};
      if (!digest.startsWith("crc32:")) return undefined;
      parts.push({ crc32: Number(digest.slice("crc32:".length)), length });
    }
    return `crc32:${combineCrc32(parts)}`;
  }
}

interface RunningDigest {
  readonly algorithm: string;
  /** Of the content that it is of. */
  readonly epoch: number;
  /** Before any byte of it was read. As `performance.now()` has it. */
  readonly startedMs: number;
  /** Bytes taken in. */
  position: number;
  file?: FileDigest;
  isAdvancing: boolean;
  advancing?: Promise<void>;
  /** Somebody waits for its end. */
  isAwaited: boolean;
  /** See `#complete`. */
  result?: Promise<string | undefined>;
  /** Why it does not go on. */
  failure?: Error;
}

/** Shorter content is read at once, in less time than a thread takes to begin. Bytes. */
const SHORT_LENGTH = 4 << 20;
/** With its thread lost that often, a task's digests are computed without. */
const LOST_MAX = 2;
/** Taken in at a time, so that several digests get on alike, and a file that changes is noticed. Bytes. */
const STEP_LENGTH = 8 << 20;
