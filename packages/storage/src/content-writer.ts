import type { BufferPool } from "./buffer-pool.ts";
import { toStorageError } from "./errors.ts";
import type { FileHandle } from "./file-system.ts";
import { writeAll } from "./file-io.ts";

/**
 * Writes a stream of chunks of any length to a file in large steps. While one buffer is on its way to the disk the other is
 * filled, so a slow disk and a slow source do not add up. A chunk is the producer's again when `write` resolves.
 *
 * Holds two buffers of the pool at most. Dispose it: whatever is being written is waited for, so the pool's memory is free again.
 */
export class ContentWriter implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #pool: BufferPool;
  readonly #action: string;
  #position: number;
  #filling: Uint8Array | undefined;
  #filled = 0;
  #running: Promise<void> | undefined;

  constructor(options: {
    readonly handle: FileHandle;
    readonly pool: BufferPool;
    /** Where the first byte goes, in bytes. */
    readonly position: number;
    /** For messages, as in "write piece 3". */
    readonly action: string;
  }) {
    this.#handle = options.handle;
    this.#pool = options.pool;
    this.#position = options.position;
    this.#action = options.action;
  }

  /**
   * Returns nothing when there was room for all of it, as for most chunks there is: then there is nothing to wait for.
   *
   * @throws {StorageError} for these bytes or earlier ones
   */
  write(chunk: Uint8Array): Promise<void> | undefined {
    const filling = (this.#filling ??= this.#pool.take());
    if (this.#filled + chunk.byteLength >= filling.byteLength) return this.#writeThrough(chunk);
    filling.set(chunk, this.#filled);
    this.#filled += chunk.byteLength;
    return undefined;
  }

  /** Resolves when every byte is with the kernel. */
  async flush(): Promise<void> {
    if (this.#filled > 0) await this.#start();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.catch(() => undefined); // Thrown by `write` or `flush`, or nobody wants it any more.
    if (this.#filling !== undefined) this.#pool.giveBack(this.#filling);
    this.#filling = undefined;
  }

  async #writeThrough(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (rest.byteLength > 0) {
      this.#filling ??= this.#pool.take();
      const taken = rest.subarray(0, this.#filling.byteLength - this.#filled);
      this.#filling.set(taken, this.#filled);
      this.#filled += taken.byteLength;
      rest = rest.subarray(taken.byteLength);
      if (this.#filled === this.#filling.byteLength) await this.#start();
    }
  }

  async #start(): Promise<void> {
    await this.#running;
    const buffer = this.#filling;
    if (buffer === undefined) return;
    const bytes = buffer.subarray(0, this.#filled);
    const running = writeAll(this.#handle, bytes, this.#position)
      .finally(() => this.#pool.giveBack(buffer))
      .catch((error: unknown) => {
        throw toStorageError(this.#action, error);
      });
    running.catch(() => undefined); // Seen by whoever awaits `#running` next.
    this.#running = running;
    this.#position += this.#filled;
    this.#filling = undefined;
    this.#filled = 0;
  }
}
