import type { StorageContext } from "./context.ts";
import { StorageError, systemCode, toStorageError } from "./errors.ts";
import { createFile, readStart, writeAll } from "./file-io.ts";
import { lstatIfThere } from "./fingerprint.ts";
import {
  compactRecords,
  decodeJournal,
  encodeJournal,
  encodeRecord,
  type JournalRecord,
  type JournalState,
} from "./journal-format.ts";
import { recoverState } from "./journal-recovery.ts";
import type { OpenFile } from "./open-files.ts";
import type { TaskPaths } from "./paths.ts";
import { Serial } from "./serial.ts";
import { clearPlace, moveAside, setJournalAside } from "./set-aside.ts";
import type { TaskFacts } from "./storage.ts";

/** What a journal needs of its storage. */
export type JournalContext = Pick<
  StorageContext,
  "fileSystem" | "files" | "layout" | "newDirectories" | "logger"
>;

/** What a journal is about, and what it says. */
export type KnownState = JournalState & { readonly facts: TaskFacts };

/** The journal file of one task. Records land in the order of the calls; one that failed leaves nothing behind. */
export class Journal {
  readonly #paths: TaskPaths;
  readonly #context: JournalContext;
  readonly #serial = new Serial();
  #length: number;
  /** Its length when it was opened, or last written anew or tried to be. */
  #compactedLength: number;
  /** There may be bytes past `#length`: of an append that failed, or torn when the process before us died. */
  #tailDirty: boolean;

  constructor(options: {
    readonly paths: TaskPaths;
    readonly context: JournalContext;
    readonly length: number;
    readonly tailDirty: boolean;
  }) {
    this.#paths = options.paths;
    this.#context = options.context;
    this.#length = options.length;
    this.#compactedLength = options.length;
    this.#tailDirty = options.tailDirty;
  }

  /**
   * In the page cache when this resolves: it survives the process, not the machine. A journal that somebody has removed is written anew, and so
   * is one that has grown long by records that later ones have made void.
   *
   * @param stateOf what the journal says so far
   * @throws what the file system throws; {StorageError} while the storage has vanished
   */
  append(record: JournalRecord, stateOf: () => KnownState): Promise<void> {
    return this.#serial.run(async () => {
      const state = stateOf();
      if (this.#length - this.#compactedLength > compactLengthMax(state))
        await this.#compact(state.facts.taskId);
      const file = await this.#acquire();
      if (file === undefined) return await this.#replace([...compactRecords(stateOf()), record]);
      try {
        if (this.#tailDirty) await file.handle.truncate(this.#length);
        this.#tailDirty = true;
        const bytes = encodeRecord(record);
        await writeAll(file.handle, bytes, this.#length);
        this.#length += bytes.byteLength;
        this.#tailDirty = false;
      } catch (error) {
        await this.#cutTail(file);
        throw error;
      } finally {
        file.release();
      }
    });
  }

  /** Replaces the journal by the shortest one that says `state`, synced. What was there stays until then. */
  rewrite(state: KnownState): Promise<void> {
    return this.#serial.run(() => this.#replace(compactRecords(state)));
  }

  /** Stamps the file with when the task was last used, so that the next start knows without reading it. */
  touch(atMs: number): Promise<void> {
    return this.#serial.run(() => this.#context.fileSystem.utimes(this.#paths.journal, atMs));
  }

  remove(): Promise<void> {
    return this.#serial.run(async () => {
      await clearPlace(this.#context.fileSystem, this.#paths, this.#paths.journal);
      this.#context.files.forget(this.#paths.journal);
    });
  }

  /** It survives the machine, too. @throws what the file system throws */
  sync(): Promise<void> {
    return this.#serial.run(async () => {
      const file = await this.#acquire();
      try {
        await file?.handle.datasync();
      } finally {
        file?.release();
      }
    });
  }

  /** Undefined: what we had open does not lie under its name any more, though the storage is where it was. */
  async #acquire(): Promise<OpenFile | undefined> {
    const { fileSystem, files, layout } = this.#context;
    const path = this.#paths.journal;
    const file = await files.acquire(path, "writing").catch((error: unknown) => {
      if (systemCode(error) === "ENOENT") return undefined;
      throw error;
    });
    if (file !== undefined) {
      const there = await lstatIfThere(fileSystem, path).catch((error: unknown) => {
        file.release();
        throw error;
      });
      if (there?.ino === file.ino) return file;
      file.release();
      files.forget(path);
    }
    await layout.assertPresent();
    return undefined;
  }

  /** What a full disk has taken of a record would cost the next process a look at every piece, whatever was sealed. */
  async #cutTail(file: OpenFile): Promise<void> {
    try {
      await file.handle.truncate(this.#length);
      this.#tailDirty = false;
    } catch {
      // The next append does it. Why this one failed is the failure to tell.
    }
  }

  /**
   * From what the file itself says, not from what is believed by now: a record of that may be on its way here, and whether the bytes were
   * synced for which it has a fingerprint only it knows. If it cannot be done it is left for later: the journal may grow for as much again.
   */
  async #compact(taskId: string): Promise<void> {
    this.#compactedLength = this.#length;
    const { fileSystem, logger } = this.#context;
    try {
      const bytes = await readStart(fileSystem, this.#paths.journal, this.#length);
      const { state, end } = decodeJournal(bytes);
      const facts = state.facts?.taskId === taskId ? state.facts : undefined;
      // Damage is for the next start to look into: there is more to it than to write a shorter one.
      if (facts === undefined || end !== "clean") return;
      await this.#replace(compactRecords({ ...state, facts }));
    } catch (error) {
      logger.warn({ taskId, err: error }, "journal has grown long, and cannot be written anew");
    }
  }

  async #replace(records: readonly JournalRecord[]): Promise<void> {
    const bytes = encodeJournal(records);
    await replaceJournal(this.#context, this.#paths, bytes);
    this.#context.files.forget(this.#paths.journal);
    this.#length = bytes.byteLength;
    this.#compactedLength = bytes.byteLength;
    this.#tailDirty = false;
  }
}

/** Not synced: until the task is sealed its pieces are checked after a crash anyway. */
export async function createJournal(
  paths: TaskPaths,
  context: JournalContext,
  facts: TaskFacts,
): Promise<Journal> {
  const bytes = encodeJournal([{ type: "facts", facts }]);
  await context.newDirectories.within(paths.directory, () =>
    createFile(context.fileSystem, paths.journal, { bytes, mode: JOURNAL_MODE }),
  );
  return new Journal({ paths, context, length: bytes.byteLength, tailDirty: false });
}

export interface LoadedJournal {
  /** Absent: nothing can be known about the task any more. */
  readonly loaded:
    | {
        readonly journal: Journal;
        readonly state: KnownState;
        /** Unix milliseconds; see `Journal.touch`. */
        readonly usedAtMs: number;
      }
    | undefined;
  /** Where the journal went when it was found damaged. */
  readonly setAside?: string;
}

/**
 * Reads a journal. A torn tail is ignored; of a damaged one counts what `recoverState` makes of it, and the file is set aside. In both
 * cases the state comes without a fingerprint: what the lost records said is unknown, so every piece is to be checked.
 *
 * @throws {StorageError} `ERR_STORAGE_VERSION`: from a newer version, untouched
 * @throws {StorageError} as `toStorageError` has it
 */
export async function loadJournal(
  paths: TaskPaths,
  context: JournalContext,
  taskId: string,
): Promise<LoadedJournal> {
  const { fileSystem } = context;
  try {
    const stat = await lstatIfThere(fileSystem, paths.journal);
    if (stat === undefined) return { loaded: undefined };
    if (!stat.isFile()) {
      const setAside = await moveAside(fileSystem, paths, paths.journal);
      return { loaded: undefined, setAside };
    }
    const usedAtMs = Number(stat.mtimeNs / 1_000_000n);
    // What is longer than any journal was not written by us; its start is read all the same, and ends as damaged.
    const bytes = await readStart(fileSystem, paths.journal, JOURNAL_LENGTH_MAX);
    const decoded = decodeJournal(bytes);
    const { state, end, validLength } = decoded;
    if (end === "newer") {
      throw new StorageError(
        "ERR_STORAGE_VERSION",
        `Cannot open task ${taskId}: its journal was written by a newer version, expected format 1`,
      );
    }

    const facts = state.facts?.taskId === taskId ? state.facts : undefined;
    if (facts === undefined || end === "damaged") {
      const setAside = bytes.some((byte) => byte !== 0)
        ? await setJournalAside(fileSystem, paths, bytes)
        : undefined;
      const recovered = recoverState(decoded, taskId);
      if (recovered === undefined) return { loaded: undefined, ...(setAside && { setAside }) };
      const kept = { ...recovered, sealed: false, fingerprint: undefined };
      const good = encodeJournal(compactRecords(kept));
      await replaceJournal(context, paths, good);
      const journal = new Journal({ paths, context, length: good.byteLength, tailDirty: false });
      return { loaded: { journal, state: kept, usedAtMs }, ...(setAside && { setAside }) };
    }

    const torn = end === "torn";
    const journal = new Journal({ paths, context, length: validLength, tailDirty: torn });
    const kept = torn
      ? { ...state, facts, sealed: false, fingerprint: undefined }
      : { ...state, facts };
    if (bytes.byteLength > compactLengthMax(kept)) await journal.rewrite(kept);
    return { loaded: { journal, state: kept, usedAtMs } };
  } catch (error) {
    throw toStorageError(`read the journal of task ${taskId}`, error);
  }
}

/** Years of links and unlinks leave records that later ones have made void. */
function compactLengthMax(state: JournalState): number {
  return 64 * 1024 + 2 * 300 * state.pieces.size;
}

async function replaceJournal(
  { fileSystem: files, newDirectories }: JournalContext,
  paths: TaskPaths,
  bytes: Buffer,
): Promise<void> {
  const options = { bytes, mode: JOURNAL_MODE, replace: true, sync: true };
  await newDirectories.within(paths.directory, () => createFile(files, paths.journalNew, options));
  await files.rename(paths.journalNew, paths.journal);
  await files.syncDirectory(paths.directory);
}

/** URLs may hold tokens. */
const JOURNAL_MODE = 0o600;
/** A million pieces of 250 bytes: 64 TB of content. */
const JOURNAL_LENGTH_MAX = 256 * 1024 * 1024;
