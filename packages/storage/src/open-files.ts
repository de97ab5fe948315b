import { constants } from "node:fs";

import { systemCode } from "./errors.ts";
import type { FileHandle, FileSystem } from "./file-system.ts";

/** What is not used from one sweep to the next but one is closed. Milliseconds. */
const SWEEP_MS = 15_000;

/** A file that is open for as long as somebody uses it. */
export interface OpenFile {
  readonly handle: FileHandle;
  /** Which file it is, whatever lies under its name by now. */
  readonly ino: bigint;
  /** Idempotent. */
  release(): void;
}

/**
 * One handle a path, shared by all its users and kept open a while after the last has gone: a piece a millisecond should not
 * cost an open and a close each. Descriptors are bounded by the files in use plus `idleCountMax`; the longest unused goes first, and what
 * nobody uses for half a minute goes, too: a daemon with nothing to do holds none.
 */
export class OpenFiles implements AsyncDisposable {
  readonly #fileSystem: FileSystem;
  readonly #idleCountMax: number;
  /** In order of last use: a used entry moves to the end. */
  readonly #entries = new Map<string, Entry>();
  /** Out of the map, but still in use or closing. */
  readonly #leaving = new Set<Entry>();
  #closed = false;
  #sweep: NodeJS.Timeout | undefined;

  readonly #onForget: ((path: string) => void) | undefined;

  /** @param options.onForget called when what lay under a path is not to be used any more, by whomever */
  constructor(options: {
    readonly fileSystem: FileSystem;
    readonly idleCountMax: number;
    readonly onForget?: ((path: string) => void) | undefined;
  }) {
    this.#fileSystem = options.fileSystem;
    this.#idleCountMax = options.idleCountMax;
    this.#onForget = options.onForget;
  }

  /**
   * Never creates, never follows a symbolic link. Opens for reading alone where the file system is read-only: who writes says so.
   *
   * @throws what `open` throws
   */
  async acquire(path: string, use: "reading" | "writing" = "reading"): Promise<OpenFile> {
    const file = await this.#acquire(path);
    if (use === "reading" || file.refusal === undefined) return file;
    // It may have been made writable since.
    file.release();
    this.#leave(path);
    const again = await this.#acquire(path);
    if (again.refusal === undefined) return again;
    again.release();
    throw again.refusal;
  }

  async #acquire(path: string): Promise<OpenFile & Opened> {
    if (this.#closed) throw new Error("the files are closed");
    const entry = this.#entries.get(path) ?? {
      opening: this.#open(path),
      users: 0,
      forgotten: false,
      stale: false,
    };
    entry.stale = false;
    this.#entries.delete(path);
    this.#entries.set(path, entry);
    entry.users++;
    this.#closeSurplus();

    let opened: Opened;
    try {
      opened = await entry.opening;
    } catch (error) {
      if (this.#entries.get(path) === entry) this.#entries.delete(path);
      throw error;
    }

    let released = false;
    return {
      ...opened,
      release: () => {
        if (released) return;
        released = true;
        entry.users--;
        if (entry.forgotten && entry.users === 0) void this.#close(entry);
        this.#closeSurplus();
        this.#sweepLater();
      },
    };
  }

  /** The next `acquire` opens anew: another file lies under that name now, or none. Users keep theirs. */
  forget(path: string): void {
    this.#onForget?.(path);
    this.#leave(path);
  }

  async #open(path: string): Promise<Opened> {
    try {
      return await openFile(this.#fileSystem, path);
    } catch (error) {
      const code = systemCode(error);
      if (code !== "EMFILE" && code !== "ENFILE") throw error;
      // Those that nobody uses at this moment are no reason to fail.
      const idle = [...this.#entries].filter(([, entry]) => entry.users === 0);
      if (idle.length === 0) throw error;
      for (const [inner] of idle) this.#leave(inner);
      await Promise.all(idle.map(([, entry]) => this.#close(entry)));
      return await openFile(this.#fileSystem, path);
    }
  }

  #leave(path: string): void {
    const entry = this.#entries.get(path);
    if (entry === undefined) return;
    this.#entries.delete(path);
    entry.forgotten = true;
    this.#leaving.add(entry);
    if (entry.users === 0) void this.#close(entry);
  }

  /** Closes every handle once its running operation has ended; later operations of its users fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#sweep);
    for (const path of this.#entries.keys()) this.#leave(path);
    await Promise.all([...this.#leaving].map((entry) => this.#close(entry)));
  }

  #closeSurplus(): void {
    let idleCount = 0;
    for (const entry of this.#entries.values()) if (entry.users === 0) idleCount++;
    for (const [path, entry] of this.#entries) {
      if (idleCount <= this.#idleCountMax) return;
      if (entry.users > 0) continue;
      this.#leave(path);
      idleCount--;
    }
  }

  #sweepLater(): void {
    if (this.#closed || this.#entries.size === 0) return;
    this.#sweep ??= setTimeout(() => this.#closeStale(), SWEEP_MS).unref();
  }

  #closeStale(): void {
    this.#sweep = undefined;
    for (const [path, entry] of this.#entries) {
      if (entry.users > 0) continue;
      if (entry.stale) this.#leave(path);
      else entry.stale = true;
    }
    this.#sweepLater();
  }

  #close(entry: Entry): Promise<void> {
    entry.closing ??= entry.opening
      .then(({ handle }) => handle.close())
      // It was opened, used and synced where that matters: a failing close says nothing that can still be acted on.
      .catch(() => undefined)
      .then(() => void this.#leaving.delete(entry));
    return entry.closing;
  }
}

interface Entry {
  readonly opening: Promise<Opened>;
  users: number;
  forgotten: boolean;
  /** Nobody has used it since the last sweep. */
  stale: boolean;
  closing?: Promise<void>;
}

interface Opened extends Pick<OpenFile, "handle" | "ino"> {
  /** Why it cannot be written to. */
  readonly refusal?: Error;
}

async function openFile(fileSystem: FileSystem, path: string): Promise<Opened> {
  let refusal: Error | undefined;
  const handle = await fileSystem
    .open(path, constants.O_RDWR | constants.O_NOFOLLOW)
    .catch((error: unknown) => {
      if (!(error instanceof Error) || systemCode(error) !== "EROFS") throw error;
      refusal = error;
      return fileSystem.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    });
  try {
    const { ino } = await handle.stat({ bigint: true });
    return { handle, ino, ...(refusal && { refusal }) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
