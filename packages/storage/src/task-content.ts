import { constants } from "node:fs";

import { checkPiece } from "./check-piece.ts";
import type { StorageContext } from "./context.ts";
import { systemCode, toStorageError } from "./errors.ts";
import { removeIfThere } from "./file-io.ts";
import type { FileHandle } from "./file-system.ts";
import {
  type ContentStat,
  type Fingerprint,
  lstatIfThere,
  sameContent,
  sameFingerprint,
  statContent,
} from "./fingerprint.ts";
import type { OpenFile } from "./open-files.ts";
import type { TaskPaths } from "./paths.ts";
import { Serial } from "./serial.ts";
import { clearPlace, moveAside } from "./set-aside.ts";
import type { PieceRecord } from "./storage.ts";

/** What the content file asks of the task it belongs to. */
export interface ContentOwner {
  readonly taskId: string;
  /** Bytes in the whole file. */
  readonly length: number;
  /** What is believed to be on disk; `dropPieces` takes from it. */
  readonly pieces: ReadonlyMap<number, PieceRecord>;
  /** @throws when the task is gone */
  assertUsable(): void;
  /** Withdraws pieces that were found damaged, on disk too. Rejects if the disk does not take it. */
  dropPieces(numbers: readonly number[]): Promise<void>;
  recordFingerprint(fingerprint: Fingerprint): Promise<void>;
}

/**
 * The content file of one task, and whether it can be believed.
 *
 * At any moment the file is either being written by us (then nobody else has a name for it), or *trusted*: stat shows what it
 * showed when the bytes were last known to be good. `check` compares; a difference costs a check of every piece, whatever its cause.
 * This is a state machine; steps that change names or links of the file run one at a time.
 */
export class TaskContent {
  readonly #owner: ContentOwner;
  readonly #paths: TaskPaths;
  readonly #context: StorageContext;
  readonly #steps = new Serial();
  #writerCount = 0;
  #writeCount = 0;
  #epoch = 0;
  /** Undefined: being written, or not looked at since. */
  #fingerprint: Fingerprint | undefined;
  /** Names that the file had when stat showed `#fingerprint`, if that is known. */
  #linkCount: bigint | undefined;
  /** The bytes that `#fingerprint` stands for survive a power failure. Only then does the journal hear of it. */
  #durable: boolean;
  /** A sync has failed. What it did not get to the disk, the kernel does not try again; the next sync says nothing of it. */
  #isUnsyncable = false;

  constructor(options: {
    readonly owner: ContentOwner;
    readonly paths: TaskPaths;
    readonly context: StorageContext;
    /** Undefined: nothing is known, every piece is to be checked before use. */
    readonly fingerprint: Fingerprint | undefined;
  }) {
    this.#owner = options.owner;
    this.#paths = options.paths;
    this.#context = options.context;
    this.#fingerprint = options.fingerprint;
    this.#durable = options.fingerprint !== undefined;
  }

  get path(): string {
    return this.#paths.content;
  }

  /** Moves on whenever the file was not what it should be: bytes read in an earlier epoch may be anybody's. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Creates the file, empty of data but with its full length. */
  async create(): Promise<void> {
    await this.#steps.run(() => this.#moveToFreshFile());
  }

  /** After this, every piece of the task is one whose digest matched and whose bytes nobody has touched since, as far as stat can tell. */
  async check(): Promise<void> {
    if (this.#writerCount > 0) return;
    const known = this.#fingerprint;
    if (known !== undefined) {
      const stat = await this.#stat();
      if (sameFingerprint(known, stat)) {
        if (this.#fingerprint === known) this.#linkCount = stat?.nlink;
        return;
      }
    }
    await this.#steps.run(() => this.#recheck());
  }

  /** @throws {StorageError} */
  async acquire(use: "reading" | "writing" = "reading"): Promise<OpenFile> {
    try {
      return await this.#context.files.acquire(this.path, use);
    } catch (error) {
      throw this.#failed("open", error);
    }
  }

  /** The file, ours alone to write to; end it with `endWrite`. */
  beginWrite(): Promise<OpenFile> {
    return this.#steps.run(async () => {
      this.#owner.assertUsable();
      if (this.#writerCount === 0) {
        const stat = await this.#recheck();
        // What has another name may be somebody's output: it is never written to.
        if (stat === undefined || stat.nlink > 1n) await this.#moveToFreshFile();
      }
      const file = await this.acquire("writing");
      this.#writerCount++;
      this.#writeCount++;
      this.#fingerprint = undefined;
      this.#durable = false;
      return file;
    });
  }

  async endWrite(file: OpenFile): Promise<void> {
    file.release();
    await this.#steps.run(async () => {
      // Not before: whoever is in between would see a file that nobody writes to and that has no fingerprint, and check every piece.
      this.#writerCount--;
      if (this.#writerCount > 0) return;
      const stat = await this.#stat();
      const isWhole = stat?.ino === file.ino && stat.size === BigInt(this.#owner.length);
      if (!isWhole) {
        // Somebody else has cut, extended or replaced it meanwhile: without a fingerprint every piece is looked at before any is used.
        this.#epoch++;
        this.#context.files.forget(this.path);
        return;
      }
      this.#fingerprint = stat;
      this.#linkCount = stat.nlink;
    });
  }

  /**
   * Has the disk take all bytes, then runs `action` with the fingerprint they are trusted under, and no writer or link in between.
   * False: bytes were written meanwhile, and `action` did not run.
   */
  async synced(action: (fingerprint: Fingerprint) => Promise<void>): Promise<boolean> {
    this.#owner.assertUsable();
    await this.#renewIfUnsyncable();
    const writeCount = this.#writeCount;
    const epoch = this.#epoch;
    await this.#sync();
    await this.#context.newDirectories.sync().catch((error: unknown) => {
      throw this.#failed("sync", error);
    });
    return await this.#steps.run(async () => {
      await this.#recheck();
      if (this.#fingerprint === undefined || this.#writeCount !== writeCount) return false;
      if (this.#isUnsyncable) return false;
      if (this.#epoch !== epoch) return false; // What somebody else has written may not be on the disk.
      this.#durable = true;
      await action(this.#fingerprint);
      return true;
    });
  }

  /** Makes what was written survive the next start without a check. For an orderly stop; no writer may be left. */
  async settle(): Promise<void> {
    if (this.#durable || this.#fingerprint === undefined) return;
    await this.#renewIfUnsyncable();
    if (this.#durable) return; // The new file was synced, and is on record.
    await this.#sync();
    this.#durable = true;
    await this.#owner.recordFingerprint(this.#fingerprint);
  }

  /** Has the pieces written anew, from what everybody still sees of them, each checked. */
  #renewIfUnsyncable(): Promise<void> {
    return this.#steps.run(async () => {
      if (!this.#isUnsyncable) return;
      if (this.#writerCount > 0)
        throw this.#failed("sync", new Error("a sync has failed, and it is being written to"));
      await this.#moveToFreshFile();
    });
  }

  /**
   * Gives the file another name, in place of what is there if `temporary` names a place to do it from.
   *
   * "changed": the file is not what is wanted any more; check, and ask again.
   *
   * @throws what the file system throws
   */
  linkTo(
    target: string,
    options: {
      /** Asked in the last moment: whether the file is what is wanted. */
      readonly isRight: () => boolean;
      /** Only if nobody else has a name for it. */
      readonly sole: boolean;
      readonly temporary?: string;
    },
  ): Promise<"linked" | "changed" | "has-links"> {
    const files = this.#context.fileSystem;
    return this.#steps.run(async () => {
      this.#owner.assertUsable();
      const before = await this.#recheck();
      if (before === undefined || this.#fingerprint === undefined || !options.isRight()) {
        return "changed";
      }
      if (options.sole && before.nlink > 1n) return "has-links";
      try {
        if (options.temporary === undefined) {
          await files.link(this.path, target);
        } else {
          await files.link(this.path, options.temporary);
          if (!options.isRight()) return "changed";
          await files.rename(options.temporary, target);
        }
      } finally {
        // Also after a rename between two names of one file, which does nothing.
        if (options.temporary !== undefined) await removeIfThere(files, options.temporary);
        await this.#accept(before);
      }
      return "linked";
    });
  }

  /** Removes the file, in no step of another's. Other names of it are their owners'. */
  remove(alongWith: () => Promise<void>): Promise<void> {
    return this.#steps.run(async () => {
      await alongWith();
      await clearPlace(this.#context.fileSystem, this.#paths, this.path);
      this.#context.files.forget(this.path);
    });
  }

  /** The file as it is now, its pieces being good; undefined if there is none, or while it is being written. */
  async #recheck(): Promise<ContentStat | undefined> {
    this.#owner.assertUsable();
    if (this.#writerCount > 0) return undefined;
    const before = (await this.#stat()) ?? (await this.#statPresent());
    if (this.#fingerprint !== undefined && sameFingerprint(this.#fingerprint, before))
      return before;
    if (before !== undefined && this.#hasOnlyLostNames(before)) {
      await this.#trust(before, []);
      return before;
    }

    const known = this.#fingerprint;
    this.#epoch++;
    this.#context.files.forget(this.path); // Another file may lie there now.
    this.#fingerprint = undefined;
    const all = [...this.#owner.pieces.values()];
    const bad = before === undefined ? all : await this.#findBad(all);
    // Whoever wrote to it may not have had it synced.
    if (this.#durable && before !== undefined) this.#durable = await this.#trySync();
    if (before === undefined) {
      // Of an empty task no piece is missing, so nobody would fetch it and make the file anew.
      if (this.#owner.length === 0) return await this.#moveToFreshFile();
      this.#report(all.length, bad);
      await this.#trust(undefined, bad);
      return undefined;
    }

    const wrongLength = before.size !== BigInt(this.#owner.length);
    const written = known !== undefined && known.mtimeNs !== before.mtimeNs;
    const shared = before.nlink > 1n && (wrongLength || bad.length > 0 || written);
    if (shared || !sameFingerprint(before, await this.#stat())) {
      // Somebody else writes to it, now or before, and may do so again, through a memory map even unseen: from here on it is theirs.
      return await this.#moveToFreshFile();
    }
    this.#report(all.length, bad);
    if (wrongLength) await this.#resize();
    const after = wrongLength ? await this.#stat() : before;
    await this.#trust(after, bad);
    return after;
  }

  /**
   * Whether an output was removed, which moves ctime, and nothing else shows. Looking at every piece each time somebody removes what he
   * has done with would make the next download of a file that is here as slow as a copy.
   */
  #hasOnlyLostNames(stat: ContentStat): boolean {
    const known = this.#fingerprint;
    return (
      known !== undefined &&
      this.#linkCount !== undefined &&
      stat.nlink < this.#linkCount &&
      sameContent(known, stat)
    );
  }

  /** One line for each time that pieces were looked at, and what came of it. */
  #report(
    checkedCount: number,
    bad: readonly PieceRecord[],
    what = "content file has changed or was left unfinished",
  ): void {
    const { taskId } = this.#owner;
    const [droppedCount, keptCount] = [bad.length, checkedCount - bad.length];
    const fields = { taskId, droppedCount, keptCount };
    if (droppedCount > 0) {
      this.#context.logger.warn(fields, `${what}: damaged pieces are dropped`);
    } else if (checkedCount > 0) this.#context.logger.info(fields, `${what}: every piece is good`);
  }

  async #findBad(pieces: readonly PieceRecord[]): Promise<PieceRecord[]> {
    if (pieces.length === 0) return [];
    const file = await this.acquire();
    try {
      const bad: PieceRecord[] = [];
      const pool = this.#context.readBuffers;
      for (const piece of pieces) {
        if (!(await checkPiece(piece, { source: file.handle, pool }))) bad.push(piece);
      }
      return bad;
    } catch (error) {
      throw this.#failed("check", error);
    } finally {
      file.release();
    }
  }

  /** Copies every good piece into a new file and puts it in the place of the old one, which whoever else has a name for it keeps. */
  async #moveToFreshFile(): Promise<ContentStat | undefined> {
    const { contentNew, content, directory } = this.#paths;
    const { fileSystem: files, newDirectories } = this.#context;
    const source = await this.#acquireIfThere();
    try {
      const target = await newDirectories.within(directory, () =>
        files.open(contentNew, NEW_CONTENT_FLAGS, CONTENT_MODE),
      );
      const bad: PieceRecord[] = [];
      try {
        await target.truncate(this.#owner.length);
        for (const piece of this.#owner.pieces.values()) {
          if (!(await this.#copyPiece(piece, source, target))) bad.push(piece);
        }
        if (this.#owner.pieces.size > 0) await target.sync();
      } finally {
        await target.close();
      }
      if ((await lstatIfThere(files, content))?.isDirectory() === true)
        await moveAside(files, this.#paths, content);
      await files.rename(contentNew, content);
      // Of the new file; until here it was the old one that counted.
      this.#durable = true;
      this.#isUnsyncable = false;
      this.#epoch++;
      this.#context.files.forget(content);
      if (this.#owner.pieces.size > 0) await files.syncDirectory(directory);
      const stat = await this.#stat();
      this.#report(this.#owner.pieces.size, bad, "content file is somebody else's and was copied");
      await this.#trust(stat, bad);
      return stat;
    } catch (error) {
      await removeIfThere(files, contentNew).catch(() => undefined); // The first failure is the one to tell.
      throw this.#failed("create", error);
    } finally {
      source?.release();
    }
  }

  async #copyPiece(
    piece: PieceRecord,
    source: OpenFile | undefined,
    target: FileHandle,
  ): Promise<boolean> {
    if (source === undefined) return false;
    return await checkPiece(piece, {
      source: source.handle,
      target,
      pool: this.#context.readBuffers,
    });
  }

  async #acquireIfThere(): Promise<OpenFile | undefined> {
    try {
      return await this.#context.files.acquire(this.path);
    } catch (error) {
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ELOOP" || code === "EISDIR") return undefined;
      throw error;
    }
  }

  async #resize(): Promise<void> {
    const file = await this.acquire("writing");
    try {
      await file.handle.truncate(this.#owner.length);
    } catch (error) {
      throw this.#failed("resize", error);
    } finally {
      file.release();
    }
  }

  /** After a link of our own: nothing but ctime may have moved. Otherwise the old fingerprint stays, and the next check tells. */
  async #accept(before: ContentStat): Promise<void> {
    const after = await this.#stat();
    if (after !== undefined && sameContent(before, after)) await this.#trust(after, []);
  }

  async #trust(fingerprint: ContentStat | undefined, bad: readonly PieceRecord[]): Promise<void> {
    if (bad.length > 0) {
      const { taskId } = this.#owner;
      await this.#owner.dropPieces(bad.map((piece) => piece.number));
      this.#context.onDamaged({ taskId, pieceCount: bad.length, how: "changed" });
    }
    this.#fingerprint = fingerprint;
    this.#linkCount = fingerprint?.nlink;
    // Without the record, the next start checks every piece once more.
    if (fingerprint !== undefined && this.#durable)
      await this.#owner.recordFingerprint(fingerprint);
  }

  async #sync(): Promise<void> {
    const file = await this.acquire();
    try {
      await file.handle.sync();
    } catch (error) {
      this.#isUnsyncable = true;
      throw this.#failed("sync", error);
    } finally {
      file.release();
    }
  }

  async #trySync(): Promise<boolean> {
    try {
      await this.#sync();
      return true;
    } catch (error) {
      const { taskId } = this.#owner;
      this.#context.logger.warn({ taskId, err: error }, "content cannot be synced");
      return false;
    }
  }

  async #stat(): Promise<ContentStat | undefined> {
    try {
      return await statContent(this.#context.fileSystem, this.path);
    } catch (error) {
      throw this.#failed("look at", error);
    }
  }

  /** The same for a file that is not there, though the storage is: what has vanished as a whole will be back. */
  async #statPresent(): Promise<ContentStat | undefined> {
    await this.#context.layout.assertPresent().catch((error: unknown) => {
      throw this.#failed("look at", error);
    });
    return await this.#stat();
  }

  #failed(verb: string, error: unknown): Error {
    return toStorageError(`${verb} the content of task ${this.#owner.taskId}`, error);
  }
}

/** Less the umask: a hard-linked output has the mode that the user would expect of a new file. */
const CONTENT_MODE = 0o666;
const NEW_CONTENT_FLAGS =
  constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
