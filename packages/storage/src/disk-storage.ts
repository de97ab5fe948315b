import { TransportError, type PieceReader, type PieceRequest } from "@damselfly/transport";

import { Accounting, type Lack, NoRoomError } from "./accounting.ts";
import type { StorageContext } from "./context.ts";
import { StorageError, toStorageError } from "./errors.ts";
import { createFile, removeIfThere } from "./file-io.ts";
import { lstatIfThere } from "./fingerprint.ts";
import { Interrupter } from "./interrupter.ts";
import { createJournal, loadJournal } from "./journal.ts";
import { sameShape } from "./journal-format.ts";
import { assertTaskId, isTaskId } from "./paths.ts";
import { Room } from "./room.ts";
import { KeyedSerial } from "./serial.ts";
import { scrub, type ScrubbedStorage, type ScrubOptions } from "./scrub.ts";
import { clearPlace } from "./set-aside.ts";
import { receiveSpool } from "./spool-file.ts";
import { SpoolRoom } from "./spool-room.ts";
import type {
  EvictOutcome,
  LocatedPiece,
  Spool,
  SpoolSender,
  Storage,
  StorageUsage,
  StoredTask,
  TaskFacts,
  TaskUsage,
} from "./storage.ts";
import { TaskOnDisk } from "./task-on-disk.ts";
import { bytesOf } from "./usage.ts";

/** The tasks of one directory. Opening, creating and deleting one task happens one at a time; different tasks do not wait for each other. */
export class DiskStorage implements Storage {
  readonly #context: StorageContext;
  /** Tasks with a journal on disk. */
  readonly #taskIds: Set<string>;
  /** Those whose journal has been read. */
  readonly #tasks = new Map<string, TaskOnDisk>();
  /** Tasks that are to stay, here or not. */
  readonly #pins: Set<string>;
  readonly #accounting: Accounting;
  readonly #room: Room;
  readonly #makeRoom: (lack: Lack) => Promise<boolean>;
  readonly #steps = new KeyedSerial();
  readonly #interrupter = new Interrupter();
  #disposing: Promise<void> | undefined;

  constructor(options: {
    readonly context: StorageContext;
    readonly taskIds: Set<string>;
    readonly pins: Set<string>;
    readonly quotaBytes: number;
    readonly makeRoom: (lack: Lack) => Promise<boolean>;
  }) {
    this.#context = options.context;
    this.#taskIds = options.taskIds;
    this.#pins = options.pins;
    this.#accounting = new Accounting(options.context, options);
    this.#room = new Room(this.#accounting, () => this.#stillToCome());
    this.#makeRoom = options.makeRoom;
  }

  async openTask(taskId: string): Promise<StoredTask | undefined> {
    assertTaskId(taskId);
    for (;;) {
      const task = await this.#load(taskId);
      try {
        await task?.check();
        return task;
      } catch (error) {
        // It was removed meanwhile: what has taken its place?
        if (task?.isGone !== true) throw error;
      }
    }
  }

  async createTask(
    facts: TaskFacts,
    { mayKeep = () => true, reserves = true }: Partial<CreateOptions> = {},
  ): Promise<StoredTask> {
    assertTaskId(facts.taskId);
    assertFacts(facts);
    // What is here of it does not make way for the rest.
    const release = (await this.#load(facts.taskId))?.hold();
    try {
      return await this.#untilThereIsRoom(() => this.#createOnce(facts, { mayKeep, reserves }));
    } finally {
      release?.();
    }
  }

  async #untilThereIsRoom<T>(action: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof NoRoomError) || attempt === ROOM_ATTEMPTS_MAX) throw error;
        // In no step of any task: those that are deleted for it have theirs.
        if (!(await this.#makeRoom(error.lack))) throw error;
      }
    }
  }

  async #createOnce(facts: TaskFacts, { mayKeep, reserves }: CreateOptions): Promise<StoredTask> {
    return await this.#step(facts.taskId, async () => {
      const existing = await this.#loadInStep(facts.taskId);
      if (existing !== undefined) {
        const isSame = sameShape(existing.facts, facts);
        if (isSame) await existing.check();
        if (isSame && mayKeep(existing)) {
          if (reserves) await this.#reserveRest(existing);
          await existing.adopt(facts);
          return existing;
        }
        const by = isSame ? "another reading" : "another version";
        await this.#discard(existing, `${by} of its content has replaced it`);
      }
      return await this.#create(facts, { reserves });
    });
  }

  async deleteTask(taskId: string): Promise<boolean> {
    assertTaskId(taskId);
    return await this.#step(taskId, async () => {
      const task = await this.#loadInStep(taskId);
      if (task === undefined) return false;
      await this.#unpin(taskId);
      await this.#discard(task, "it was deleted");
      return true;
    });
  }

  async evictTask(taskId: string): Promise<EvictOutcome> {
    assertTaskId(taskId);
    return await this.#step(taskId, async () => {
      if (this.#pins.has(taskId)) return "pinned";
      const task = await this.#loadInStep(taskId);
      if (task === undefined) return "not-here";
      // Nothing is awaited from here until it is abandoned, so nobody comes in between.
      if (task.busy) return "busy";
      await this.#discard(task, "it was evicted to make room");
      return "evicted";
    });
  }

  async pinTask(taskId: string, pinned: boolean): Promise<boolean> {
    assertTaskId(taskId);
    return await this.#step(taskId, async () => {
      if (!this.#taskIds.has(taskId)) return false;
      await (pinned ? this.#pin(taskId) : this.#unpin(taskId));
      return true;
    });
  }

  async usage(): Promise<StorageUsage> {
    this.#assertOpen();
    for (const task of this.#tasks.values()) await task.writeDownUse();
    const measured = await this.#accounting.measure();
    const disk = await this.#accounting.disk();
    const tasks: TaskUsage[] = [];
    for (const [taskId, { bytes, freeableBytes, journalAtMs }] of measured.tasks) {
      // Being deleted, or created, at this moment.
      if (!this.#taskIds.has(taskId)) continue;
      const task = this.#tasks.get(taskId);
      tasks.push({
        taskId,
        bytes,
        freeableBytes,
        usedAtMs: task?.usedAtMs ?? journalAtMs,
        pinned: this.#pins.has(taskId),
        busy: task?.busy ?? false,
      });
    }
    const bytes = await this.#accounting.usedBytes();
    return { tasks, bytes, reservedBytes: this.#room.reservedBytes, disk };
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
    const room = new SpoolRoom({
      claim: (bytes) =>
        this.#untilThereIsRoom(() => this.#room.claim("receive more of the content", bytes)),
      count: (bytes) => this.#accounting.addSpooled(bytes),
    });
    const context = this.#context;
    return await receiveSpool(content, { context, room, interrupter: this.#interrupter });
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
      await task.writeDownUse();
      await task.settle().catch((error: unknown) => {
        // The next start checks its pieces instead.
        this.#context.logger.warn({ taskId: task.taskId, err: error }, "task is not synced");
      });
    }
    await this.#context.digestThread[Symbol.asyncDispose]();
    await this.#context.files[Symbol.asyncDispose]();
    await this.#context.layout[Symbol.asyncDispose]();
  }

  async #load(taskId: string): Promise<TaskOnDisk | undefined> {
    this.#assertOpen();
    const loaded = this.#tasks.get(taskId);
    const isThere = loaded !== undefined && !loaded.isGone;
    if (isThere || (loaded === undefined && !this.#taskIds.has(taskId))) return loaded;
    // One that is being removed is waited for, and for what takes its place.
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
    this.#take(task);
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
    this.#accounting.remove(taskId);
  }

  #take(task: TaskOnDisk): void {
    const { taskId } = task;
    this.#tasks.set(taskId, task);
    task.onChange((change) => {
      if (change.kind === "recorded") this.#accounting.add(taskId, change.piece.length);
    });
  }

  /** It survives a power failure, too. */
  async #pin(taskId: string): Promise<void> {
    const { fileSystem, paths, newDirectories } = this.#context;
    const { pin, directory } = paths.task(taskId);
    try {
      const options = { bytes: Buffer.alloc(0), mode: 0o600, replace: true };
      await createFile(fileSystem, pin, options);
      await newDirectories.sync();
      await fileSystem.syncDirectory(directory);
    } catch (error) {
      // Nobody is told that it is pinned: so it should not be found pinned later.
      await removeIfThere(fileSystem, pin).catch(() => undefined);
      throw toStorageError(`pin task ${taskId}`, error);
    }
    this.#pins.add(taskId);
  }

  async #unpin(taskId: string): Promise<void> {
    const { fileSystem, paths } = this.#context;
    if (!this.#pins.has(taskId)) return;
    await removeIfThere(fileSystem, paths.task(taskId).pin).catch((error: unknown) => {
      throw toStorageError(`unpin task ${taskId}`, error);
    });
    this.#pins.delete(taskId);
  }

  async #create(
    facts: TaskFacts,
    { reserves }: Pick<CreateOptions, "reserves">,
  ): Promise<TaskOnDisk> {
    const context = this.#context;
    const paths = context.paths.task(facts.taskId);
    const claim = reserves
      ? await this.#room.claim(`create task ${facts.taskId}`, facts.contentLength)
      : undefined;
    try {
      // If this fails, and what is there cannot be removed, it is found again like that of a task created before.
      this.#taskIds.add(facts.taskId);
      const journal = await createJournal(paths, context, facts);
      const state = { facts, pieces: new Map(), sealed: false, fingerprint: undefined };
      const task = new TaskOnDisk({ paths, context, journal, state });
      await task.content.create();
      if (reserves) task.expectRetain();
      this.#take(task);
      return task;
    } catch (error) {
      await this.#removeFiles(facts.taskId).catch((failure: unknown) => {
        const fields = { taskId: facts.taskId, err: failure };
        context.logger.warn(fields, "what is left of a task cannot be removed");
      });
      throw toStorageError(`create task ${facts.taskId}`, error);
    } finally {
      claim?.release(); // From here on the task itself says what it needs, if it is there.
    }
  }

  /** Somebody is about to go on with it: what is still to come needs room as that of a new task does. */
  async #reserveRest(task: TaskOnDisk): Promise<void> {
    const { taskId, missingLength } = task;
    if (missingLength === 0 || task.isPromised) return;
    const action = `go on with task ${taskId}`;
    const { fileSystem } = this.#context;
    const file = await lstatIfThere(fileSystem, task.content.path).catch((error: unknown) => {
      throw toStorageError(action, error);
    });
    // A piece that was withdrawn is written where its bytes lie already.
    const newLength = Math.min(missingLength, Math.max(0, task.length - bytesOf(file)));
    if (newLength > 0) {
      // Who was handed a part of it meanwhile has it counted already, but nobody has looked whether there is as much.
      const bytes = Math.max(0, newLength - task.reservedLength);
      const claim = await this.#room.claim(action, bytes);
      claim.release(); // The task itself says so, from the next line on.
    }
    task.expectRetain();
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
    this.#accounting.remove(taskId);
  }

  /** Bytes of tasks that are being fetched. */
  #stillToCome(): number {
    let sum = 0;
    for (const task of this.#tasks.values()) sum += task.reservedLength;
    return sum;
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

/** As `Storage.createTask` has them. */
interface CreateOptions {
  readonly mayKeep: (stored: StoredTask) => boolean;
  readonly reserves: boolean;
}

/** Somebody else may have taken what was freed. */
const ROOM_ATTEMPTS_MAX = 4;

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
