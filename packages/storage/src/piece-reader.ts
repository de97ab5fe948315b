import {
  type ByteRange,
  type PieceInfo,
  type PieceReader,
  TransportError,
} from "@damselfly/transport";

import type { BufferPool } from "./buffer-pool.ts";
import { checkPiece } from "./check-piece.ts";
import { createDigester, strongestDigestOf } from "./digester.ts";
import { systemCode } from "./errors.ts";
import { readFully } from "./file-io.ts";
import type { OpenFile } from "./open-files.ts";
import type { LocatedPiece } from "./storage.ts";

/**
 * Reads a recorded piece, or some bytes of it, for somebody else, and checks it once more: its last chunk is held
 * back until the digest of the whole has matched, so a damaged piece is never delivered complete. The digest is
 * computed on the way where the whole piece is read. Of ranges, the one that ends the piece has all of it read again
 * for that (out of the page cache, where the others have just put it), and the others are not checked at all.
 */
export class StoredPieceReader implements PieceReader {
  readonly piece: PieceInfo;
  readonly content: AsyncIterable<Uint8Array>;
  readonly #located: LocatedPiece;
  /** Within the piece. */
  readonly #range: ByteRange;
  readonly #file: OpenFile;
  readonly #pool: BufferPool;
  #started = false;
  #ended = false;

  /** @param options.file released when this ends, however it ends */
  constructor(options: {
    readonly located: LocatedPiece;
    readonly file: OpenFile;
    readonly pool: BufferPool;
  }) {
    const { located, file, pool } = options;
    this.piece = located.piece;
    this.#located = located;
    this.#range = located.range;
    this.#file = file;
    this.#pool = pool;
    this.content = { [Symbol.asyncIterator]: () => this.#read() };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#end(false);
    return Promise.resolve();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#started) throw new TypeError("the content of a piece can be iterated once");
    this.#started = true;
    const end = this.#range.offset + this.#range.length;
    const isWhole = this.#range.length === this.piece.length;
    const { algorithm } = strongestDigestOf(this.piece);
    const digester = isWhole ? createDigester(algorithm) : undefined;
    const buffer = this.#pool.take();
    let delivered = false;
    try {
      for (let position = this.#range.offset; position < end;) {
        const length = Math.min(buffer.byteLength, end - position);
        await this.#fill(buffer, { length, position: this.piece.offset + position });
        const chunk = buffer.subarray(0, length);
        digester?.update(chunk);
        position += length;
        if (position === this.piece.length) await this.#assertUndamaged(digester?.text());
        yield chunk;
      }
      delivered = true;
    } finally {
      // Only a consumer that asked for the end is known to be done with the last chunk.
      if (delivered) this.#pool.giveBack(buffer);
      this.#end(delivered && end === this.piece.length);
    }
  }

  async #fill(
    buffer: Uint8Array,
    range: { readonly length: number; readonly position: number },
  ): Promise<void> {
    if (this.#ended)
      throw new TransportError("ERR_CLOSED", this.#failure("the reader is disposed"));
    let count = 0;
    try {
      count = await readFully(this.#file.handle, buffer, range);
    } catch (error) {
      // A sector that cannot be read is as good as missing.
      if (systemCode(error) !== "EIO") throw this.#unreadable(error);
    }
    if (count < range.length) await this.#failDamaged("its bytes are not there any more");
  }

  /** @param digest of what has been read, if that was the whole piece */
  async #assertUndamaged(digest: string | undefined): Promise<void> {
    const expected = strongestDigestOf(this.piece).text;
    const isGood = digest === undefined ? await this.#checkAll() : digest === expected;
    if (!isGood) await this.#failDamaged("its digest no longer matches");
  }

  async #checkAll(): Promise<boolean> {
    try {
      return await checkPiece(this.piece, { source: this.#file.handle, pool: this.#pool });
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  #unreadable(cause: unknown): TransportError {
    const message = this.#failure("the file cannot be read");
    return new TransportError("ERR_PARENT_FAILED", message, { cause });
  }

  async #failDamaged(reason: string): Promise<never> {
    await this.#located.damaged();
    throw new TransportError("ERR_PARENT_FAILED", this.#failure(reason));
  }

  #failure(reason: string): string {
    return `Cannot serve piece ${this.piece.number}: ${reason}`;
  }

  #end(delivered: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#file.release();
    this.#located.end(delivered);
  }
}
