import type { StorageContext } from "./context.ts";
import { StorageError, toStorageError } from "./errors.ts";
import { type MeasuredFiles, measureFiles } from "./usage.ts";

/** Room that there is not. */
export interface Lack {
  readonly bytes: number;
  /** What has not got it: the quota of the storage, which all its files count towards, or the disk, to which some are of no matter. */
  readonly of: "quota" | "disk";
}

/** Something does not fit, as things are. */
export class NoRoomError extends StorageError {
  readonly lack: Lack;

  constructor(message: string, lack: Lack) {
    super("ERR_NO_SPACE", message);
    this.lack = lack;
  }
}

/** Keeps the sum of what the storage's own files take: measured now and then, counted in between. */
export class Accounting {
  readonly #context: StorageContext;
  readonly #quotaBytes: number;
  /** By task; undefined: not measured yet. */
  #tally: Map<string, number> | undefined;
  #otherBytes = 0;
  #spooledBytes = 0;
  #measuring: Promise<MeasuredFiles> | undefined;
  /** By task, what is written while the files are being looked at: they may have been looked at before. */
  #meanwhile: Map<string, number> | undefined;

  /** @param options.quotaBytes 0: none */
  constructor(context: StorageContext, options: { readonly quotaBytes: number }) {
    this.#context = context;
    this.#quotaBytes = options.quotaBytes;
  }

  /** Looks at all files; who asks while somebody else does gets the same. @throws {StorageError} */
  async measure(): Promise<MeasuredFiles> {
    this.#measuring ??= this.#measure().finally(() => (this.#measuring = undefined));
    return await this.#measuring;
  }

  /** All own files, in bytes. @throws {StorageError} */
  async usedBytes(): Promise<number> {
    if (this.#tally === undefined) await this.measure();
    let sum = this.#otherBytes + this.#spooledBytes;
    for (const bytes of this.#tally?.values() ?? []) sum += bytes;
    return sum;
  }

  /** So many bytes of a task have been written. */
  add(taskId: string, bytes: number): void {
    for (const counts of [this.#tally, this.#meanwhile])
      counts?.set(taskId, (counts.get(taskId) ?? 0) + bytes);
  }

  /** So many bytes more of content on its way in are there; fewer, if negative. */
  addSpooled(bytes: number): void {
    this.#spooledBytes += bytes;
  }

  /** The task is deleted. */
  remove(taskId: string): void {
    this.#tally?.delete(taskId);
    this.#meanwhile?.delete(taskId);
  }

  /**
   * Whether there is room, besides what is promised already.
   *
   * @param action what could not be done without, as in "create task …"
   * @throws {NoRoomError}
   * @throws {StorageError} if the disk cannot be asked
   */
  async assertRoom(
    action: string,
    { bytes, reservedBytes }: { readonly bytes: number; readonly reservedBytes: () => number },
  ): Promise<void> {
    // Before the disk is asked: what is written meanwhile counts twice rather than not at all.
    const reserved = reservedBytes();
    const { freeBytes } = await this.disk();
    const onDisk = bytes + reserved - freeBytes;
    if (onDisk > 0) {
      throw new NoRoomError(
        `Cannot ${action}: it needs ${bytes} bytes, the disk has ${freeBytes} bytes free and ${reserved} of them are promised to others`,
        { bytes: onDisk, of: "disk" },
      );
    }
    if (this.#quotaBytes === 0) return;
    if ((await this.#findLackOfQuota(action, { bytes, reservedBytes })) === undefined) return;
    // What is counted in between only grows: pieces that were dropped are in it still, and content that somebody has removed.
    await this.#measureAnew();
    const lack = await this.#findLackOfQuota(action, { bytes, reservedBytes });
    if (lack !== undefined) throw lack;
  }

  /** The disk that everything is on. @throws {StorageError} */
  async disk(): Promise<{ readonly totalBytes: number; readonly freeBytes: number }> {
    const { layout, fileSystem, paths } = this.#context;
    try {
      const { bavail, bsize, blocks } = await layout.retry(() => fileSystem.statfs(paths.content));
      return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
    } catch (error) {
      throw toStorageError("ask for the free space", error);
    }
  }

  async #findLackOfQuota(
    action: string,
    { bytes, reservedBytes }: { readonly bytes: number; readonly reservedBytes: () => number },
  ): Promise<NoRoomError | undefined> {
    const left = Math.max(0, this.#quotaBytes - (await this.usedBytes()));
    const reserved = reservedBytes();
    const inQuota = bytes + reserved - left;
    if (inQuota <= 0) return undefined;
    return new NoRoomError(
      `Cannot ${action}: it needs ${bytes} bytes, the quota of ${this.#quotaBytes} bytes has ${left} left and ${reserved} of them are promised to others`,
      { bytes: inQuota, of: "quota" },
    );
  }

  /** As `measure`, but begun no earlier than now. */
  async #measureAnew(): Promise<void> {
    await this.#measuring?.catch(() => undefined); // Its failure is its caller's.
    await this.measure();
  }

  async #measure(): Promise<MeasuredFiles> {
    const { fileSystem, paths } = this.#context;
    const meanwhile = new Map<string, number>();
    this.#meanwhile = meanwhile;
    try {
      const measured = await measureFiles(fileSystem, paths);
      const tally = new Map([...measured.tasks].map(([taskId, { bytes }]) => [taskId, bytes]));
      for (const [taskId, bytes] of meanwhile) {
        const seen = tally.get(taskId) ?? 0;
        // Some of it may have been seen: with what was there before it is no more than what was counted.
        const counted = this.#tally?.get(taskId) ?? Infinity;
        tally.set(taskId, Math.max(seen, Math.min(seen + bytes, counted)));
      }
      this.#tally = tally;
      this.#otherBytes = measured.otherBytes;
      return measured;
    } catch (error) {
      throw toStorageError("measure the files of the storage", error);
    } finally {
      this.#meanwhile = undefined;
    }
  }
}
