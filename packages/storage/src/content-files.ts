import type { PieceReader } from "@damselfly/transport";

import { BufferPool } from "./buffer-pool.ts";
import { StorageError, toStorageError } from "./errors.ts";
import type { FileSystem } from "./file-system.ts";
import { OpenFiles, type OpenFile } from "./open-files.ts";
import { StoredPieceReader } from "./piece-reader.ts";
import { receiveContent } from "./receive-content.ts";
import { openSpool, readSpool, writeSpool } from "./spool-file.ts";
import type { LocatedPiece, PieceTarget } from "./storage.ts";
import { DEFAULT_STORAGE_LIMITS, type StorageLimits } from "./storage-limits.ts";
import { SYSTEM_FILES } from "./system-files.ts";

/**
 * The content files of a storage for a process that has not opened it: the one that has tells it where bytes lie and where they go. It
 * knows no journal and decides nothing, so it may end at any moment, or be one of several.
 */
export class ContentFiles implements AsyncDisposable {
  readonly #fileSystem: FileSystem;
  readonly #files: OpenFiles;
  readonly #readBuffers: BufferPool;
  readonly #writeBuffers: BufferPool;

  constructor(
    options: {
      readonly limits?: Partial<StorageLimits>;
      readonly fileSystem?: FileSystem;
    } = {},
  ) {
    const limits = { ...DEFAULT_STORAGE_LIMITS, ...options.limits };
    this.#fileSystem = options.fileSystem ?? SYSTEM_FILES;
    this.#files = new OpenFiles({
      fileSystem: this.#fileSystem,
      idleCountMax: limits.idleFileCountMax,
    });
    this.#readBuffers = new BufferPool({ length: limits.readLength, idleCountMax: 16 });
    this.#writeBuffers = new BufferPool({ length: limits.writeLength, idleCountMax: 16 });
  }

  /**
   * What `ContentSender.sendTo` is to do, with content of this process.
   *
   * @throws {StorageError} `ERR_PIECE_LENGTH`, `ERR_NO_SPACE`, `ERR_IO`; `ERR_TASK_GONE` if another file lies there
   * @throws whatever `content` throws
   */
  async receive(
    target: PieceTarget,
    content: AsyncIterable<Uint8Array>,
  ): Promise<readonly string[]> {
    const file = await this.#acquire(target, "writing", target.action);
    if (file === undefined) {
      throw new StorageError(
        "ERR_TASK_GONE",
        `Cannot ${target.action}: its file has been replaced`,
      );
    }
    try {
      return await receiveContent(file.handle, target, { content, pool: this.#writeBuffers });
    } finally {
      file.release();
    }
  }

  /**
   * What `PieceSource.openPiece` is to resolve with; undefined: another file lies there, the piece is to be located anew.
   * `located.end` is called in every case.
   *
   * @throws {StorageError} when the file cannot be opened
   */
  async open(located: LocatedPiece): Promise<PieceReader | undefined> {
    let file: OpenFile | undefined;
    try {
      file = await this.#acquire(located, "reading", `open piece ${located.piece.number}`);
    } finally {
      if (file === undefined) located.end(false);
    }
    return file && new StoredPieceReader({ located, file, pool: this.#readBuffers });
  }

  /** What `SpoolSender.spoolTo` is to do. @throws {StorageError} and whatever `content` throws */
  async spool(path: string, content: AsyncIterable<Uint8Array>): Promise<number> {
    const handle = await openSpool(this.#fileSystem, path);
    try {
      return await writeSpool(handle, { content, pool: this.#writeBuffers });
    } finally {
      await handle.close();
    }
  }

  /** The first `length` bytes of a spool. A chunk is the consumer's until the next is asked for. @throws {StorageError} */
  async *readSpool(path: string, length: number): AsyncGenerator<Uint8Array, void, undefined> {
    const handle = await openSpool(this.#fileSystem, path);
    try {
      yield* readSpool(handle, { range: { offset: 0, length }, pool: this.#readBuffers });
    } finally {
      await handle.close();
    }
  }

  /** Another file lies under that name now, or none. */
  forget(path: string): void {
    this.#files.forget(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }

  async #acquire(
    { path, ino }: { readonly path: string; readonly ino: bigint },
    use: "reading" | "writing",
    action: string,
  ): Promise<OpenFile | undefined> {
    try {
      for (let attempt = 1; ; attempt += 1) {
        const file = await this.#files.acquire(path, use);
        if (file.ino === ino) return file;
        file.release();
        // The one kept open may be older than what lies there.
        this.#files.forget(path);
        if (attempt === 2) return undefined;
      }
    } catch (error) {
      throw toStorageError(action, error);
    }
  }
}
