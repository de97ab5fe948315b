import { TransportError, type PieceInfo, type PieceReader } from "@damselfly/transport";

import type { BufferPool } from "./buffer-pool.ts";
import { createDigester, parseDigest } from "./digester.ts";
import { systemCode } from "./errors.ts";
import { readFully } from "./file-io.ts";
import type { OpenFile } from "./open-files.ts";
import type { PieceRecord } from "./storage.ts";

/**
 * Reads a recorded piece for somebody else, and checks it once more on the way: the last chunk is held back until the
 * digest of the whole has matched, so a damaged piece is never delivered complete.
 */
export class StoredPieceReader implements PieceReader {
  readonly piece: PieceInfo;
  readonly content: AsyncIterable<Uint8Array>;
  readonly #record: PieceRecord;
  readonly #file: OpenFile;
  readonly #pool: BufferPool;
  readonly #onEnd: (delivered: boolean) => void;
  readonly #onDamaged: () => Promise<void>;
  #started = false;
  #ended = false;

  /** @param options.file released when this ends, however it ends */
  constructor(options: {
    readonly record: PieceRecord;
    readonly file: OpenFile;
    readonly pool: BufferPool;
    /** Called once. */
    readonly onEnd: (delivered: boolean) => void;
    /** The bytes are not those that were recorded. */
    readonly onDamaged: () => Promise<void>;
  }) {
    const { number, offset, length, digest } = options.record;
    this.piece = { number, offset, length, digest };
    this.#record = options.record;
    this.#file = options.file;
    this.#pool = options.pool;
    this.#onEnd = options.onEnd;
    this.#onDamaged = options.onDamaged;
    this.content = { [Symbol.asyncIterator]: () => this.#read() };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#end(false);
    return Promise.resolve();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#started) throw new TypeError("the content of a piece can be iterated once");
    this.#started = true;
    const digester = createDigester(parseDigest(this.#record.digest).algorithm);
    const buffer = this.#pool.take();
    let delivered = false;
    try {
      for (let done = 0; done < this.piece.length;) {
        const length = Math.min(buffer.byteLength, this.piece.length - done);
        await this.#fill(buffer, { length, position: this.piece.offset + done });
        const chunk = buffer.subarray(0, length);
        digester.update(chunk);
        done += length;
        if (done === this.piece.length && digester.text() !== this.#record.digest) {
          await this.#failDamaged("its digest no longer matches");
        }
        yield chunk;
      }
      delivered = true;
    } finally {
      // Only a consumer that asked for the end is known to be done with the last chunk.
      if (delivered) this.#pool.giveBack(buffer);
      this.#end(delivered);
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
      if (systemCode(error) !== "EIO") {
        throw new TransportError("ERR_PARENT_FAILED", this.#failure("the file cannot be read"), {
          cause: error,
        });
      }
    }
    if (count < range.length) await this.#failDamaged("its bytes are not there any more");
  }

  async #failDamaged(reason: string): Promise<never> {
    await this.#onDamaged();
    throw new TransportError("ERR_PARENT_FAILED", this.#failure(reason));
  }

  #failure(reason: string): string {
    return `Cannot serve piece ${this.piece.number}: ${reason}`;
  }

  #end(delivered: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#file.release();
    this.#onEnd(delivered);
  }
}
