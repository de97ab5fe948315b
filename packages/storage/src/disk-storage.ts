import { TransportError, type PieceReader, type PieceRequest } from "@damselfly/transport";

import type { StorageContext } from "./context.ts";
import { StorageError, toStorageError } from "./errors.ts";
import { Interrupter } from "./interrupter.ts";
import { createJournal, loadJournal } from "./journal.ts";
import { sameShape } from "./journal-format.ts";
import { assertTaskId, isTaskId } from "./paths.ts";
import { KeyedSerial } from "./serial.ts";
import { scrub, type ScrubbedStorage, type ScrubOptions } from "./scrub.ts";
import { clearPlace } from "./set-aside.ts";
import { receiveSpool } from "./spool-file.ts";
import type {
  LocatedPiece,
  Spool,
  SpoolSender,
  Storage,
  StoredTask,
  TaskFacts,
} from "./storage.ts";
import { TaskOnDisk } from "./task-on-disk.ts";

/** The tasks of one directory. Opening, creating and deleting one task happens one at a time; different tasks do not wait for each other. */
export class DiskStorage implements Storage {
  readonly #context: StorageContext;
  /** Tasks with a journal on disk. */
  readonly #taskIds: Set<string>;
  /** Those whose journal has been read. */
  readonly #tasks = new Map<string, TaskOnDisk>();
  readonly #steps = new KeyedSerial();
  readonly #interrupter = new Interrupter();
  #disposing: Promise<void> | undefined;

  constructor(options: { readonly context: StorageContext; readonly taskIds: Set<string> }) {
    this.#context = options.context;
    this.#taskIds = options.taskIds;
  }

  async openTask(taskId: string): Promise<StoredTask | undefined> {
    assertTaskId(taskId);
    const task = await this.#load(taskId);
    await task?.check();
    return task;
  }

  async createTask(facts: TaskFacts): Promise<StoredTask> {
    assertTaskId(facts.taskId);
    assertFacts(facts);
    return await this.#step(facts.taskId, async () => {
      const existing = await this.#loadInStep(facts.taskId);
      if (existing !== undefined) {
        if (sameShape(existing.facts, facts)) {
          await existing.check();
          await existing.adopt(facts);
          return existing;
        }
        await this.#discard(existing, "another version of its content has replaced it");
      }
      return await this.#create(facts);
    });
  }

  async deleteTask(taskId: string): Promise<boolean> {
    assertTaskId(taskId);
    return await this.#step(taskId, async () => {
      const task = await this.#loadInStep(taskId);
      if (task === undefined) return false;
      await this.#discard(task, "it was deleted");
      return true;
    });
  }

  async listTasks(): Promise<readonly StoredTask[]> {
    const tasks: StoredTask[] = [];
    for (const taskId of this.#taskIds) {
      try {
        const task = await this.#load(taskId);
        if (task !== undefined) tasks.push(task);
      } catch (error) {
        this.#assertOpen();
        // One bad journal must not hide the others.
        this.#context.logger.warn({ taskId, err: error }, "task cannot be read");
      }
    }
    return tasks;
  }

  async scrub(options: ScrubOptions): Promise<void> {
    this.#assertOpen();
    const closing = this.#interrupter.signal();
    const scrubbed: ScrubbedStorage = {
      context: this.#context,
      taskIds: () => this.#taskIds,
      load: (taskId) => this.#load(taskId),
    };
    const signal = AbortSignal.any([options.signal, closing.signal]);
    try {
      await scrub(scrubbed, { ...options, signal });
    } finally {
      closing.release();
    }
  }

  async spool(content: AsyncIterable<Uint8Array> | SpoolSender): Promise<Spool> {
    this.#assertOpen();
    return await receiveSpool(content, this.#context, this.#interrupter);
  }

  async openPiece(
    request: PieceRequest,
    options?: { readonly signal?: AbortSignal },
  ): Promise<PieceReader> {
    return await this.#find(request, options?.signal, (task) =>
      task.openPiece(request, options?.signal),
    );
  }

  async locatePiece(
    request: PieceRequest,
    options?: { readonly signal?: AbortSignal },
  ): Promise<LocatedPiece> {
    return await this.#find(request, options?.signal, (task) =>
      task.locatePiece(request, options?.signal),
    );
  }

  async #find<Found>(
    { taskId, pieceNumber }: PieceRequest,
    signal: AbortSignal | undefined,
    find: (task: TaskOnDisk) => Promise<Found>,
  ): Promise<Found> {
    signal?.throwIfAborted();
    try {
      const task = isTaskId(taskId) ? await this.#load(taskId) : undefined;
      if (task !== undefined) return await find(task);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (error.code !== "ERR_TASK_GONE") {
        throw new TransportError("ERR_PARENT_FAILED", error.message, { cause: error });
      }
    }
    throw new TransportError(
      this.#disposing === undefined ? "ERR_PIECE_NOT_FOUND" : "ERR_CLOSED",
      `Cannot open piece ${pieceNumber}: its task is not here`,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    const closed = new StorageError("ERR_TASK_GONE", "Cannot use task: the storage is closed");
    this.#interrupter.interrupt(closed);
    for (const task of this.#tasks.values()) {
      await task.abandon(closed);
      await task.settle().catch((error: unknown) => {
        // The next start checks its pieces instead.
        this.#context.logger.warn({ taskId: task.taskId, err: error }, "task is not synced");
      });
    }
    await this.#context.files[Symbol.asyncDispose]();
    await this.#context.layout[Symbol.asyncDispose]();
  }

  async #load(taskId: string): Promise<TaskOnDisk | undefined> {
    this.#assertOpen();
    const loaded = this.#tasks.get(taskId);
    if (loaded !== undefined || !this.#taskIds.has(taskId)) return loaded;
    return await this.#step(taskId, () => this.#loadInStep(taskId));
  }

  async #loadInStep(taskId: string): Promise<TaskOnDisk | undefined> {
    const present = this.#tasks.get(taskId);
    if (present !== undefined || !this.#taskIds.has(taskId)) return present;

    const context = this.#context;
    const paths = context.paths.task(taskId);
    const { loaded, setAside } = await loadJournal(paths, context, taskId);
    if (setAside !== undefined) {
      const keptCount = loaded?.state.pieces.size ?? 0;
      context.logger.warn({ taskId, setAside, keptCount }, "journal is damaged: set aside");
    }
    if (loaded === undefined) {
      await this.#removeFiles(taskId).catch((error: unknown) => {
        throw toStorageError(`remove what is left of task ${taskId}`, error);
      });
      return undefined;
    }
    const task = new TaskOnDisk({ paths, context, ...loaded });
    this.#tasks.set(taskId, task);
    return task;
  }

  /** Of a task that is not loaded. The journal goes first: content alone means nothing. @throws what the file system throws */
  async #removeFiles(taskId: string): Promise<void> {
    const { paths, files, fileSystem } = this.#context;
    const own = paths.task(taskId);
    for (const path of [own.journal, own.content]) {
      await clearPlace(fileSystem, own, path);
      files.forget(path);
    }
    this.#taskIds.delete(taskId);
  }

  async #create(facts: TaskFacts): Promise<TaskOnDisk> {
    const context = this.#context;
    const paths = context.paths.task(facts.taskId);
    await this.#assertSpace(facts);
    try {
      // If this fails, and what is there cannot be removed, it is found again like that of a task created before.
      this.#taskIds.add(facts.taskId);
      const journal = await createJournal(paths, context, facts);
      const state = { facts, pieces: new Map(), sealed: false, fingerprint: undefined };
      const task = new TaskOnDisk({ paths, context, journal, state });
      await task.content.create();
      this.#tasks.set(facts.taskId, task);
      return task;
    } catch (error) {
      await this.#removeFiles(facts.taskId).catch((failure: unknown) => {
        const fields = { taskId: facts.taskId, err: failure };
        context.logger.warn(fields, "what is left of a task cannot be removed");
      });
      throw toStorageError(`create task ${facts.taskId}`, error);
    }
  }

  async #discard(task: TaskOnDisk, reason: string): Promise<void> {
    const { taskId } = task;
    const gone = new StorageError("ERR_TASK_GONE", `Cannot use task ${taskId}: ${reason}`);
    await task.abandon(gone);
    try {
      await task.remove();
    } catch (error) {
      throw toStorageError(`remove task ${taskId}`, error);
    } finally {
      this.#tasks.delete(taskId);
    }
    this.#taskIds.delete(taskId);
  }

  async #assertSpace(facts: TaskFacts): Promise<void> {
    let reserved = 0;
    for (const task of this.#tasks.values()) reserved += task.reservedLength;
    const free = await this.#freeLength();
    if (facts.contentLength <= free - reserved) return;
    throw new StorageError(
      "ERR_NO_SPACE",
      `Cannot create task ${facts.taskId}: it has ${facts.contentLength} bytes, the disk has ${free} bytes free and ${reserved} of them are promised to others`,
    );
  }

  async #freeLength(): Promise<number> {
    try {
      const { layout, fileSystem, paths } = this.#context;
      const { bavail, bsize } = await layout.retry(() => fileSystem.statfs(paths.content));
      return bavail * bsize;
    } catch (error) {
      throw toStorageError("ask for the free space", error);
    }
  }

  async #step<T>(taskId: string, action: () => Promise<T>): Promise<T> {
    return await this.#steps.run(taskId, async () => {
      this.#assertOpen();
      return await action();
    });
  }

  #assertOpen(): void {
    this.#interrupter.throwIfInterrupted();
  }
}

/** @throws {RangeError} for lengths that no file can have */
function assertFacts(facts: TaskFacts): void {
  const { contentLength, pieceLength } = facts;
  if (Number.isSafeInteger(contentLength) && contentLength >= 0) {
    if (Number.isSafeInteger(pieceLength) && pieceLength > 0) return;
  }
  throw new RangeError(
    `Cannot create task: content length ${contentLength} and piece length ${pieceLength} are no lengths`,
  );
}
