import { randomBytes } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

import type { StorageContext } from "./context.ts";
import { ContentWriter } from "./content-writer.ts";
import { StorageError, toStorageError } from "./errors.ts";
import { readFully, removeIfThere } from "./file-io.ts";
import type { Interrupter } from "./interrupter.ts";
import { assertRange, type ByteRange } from "./read-content.ts";
import type { Spool } from "./storage.ts";

/** As `Storage.spool` has it. Whatever goes wrong, no file is left. */
export async function receiveSpool(
  content: AsyncIterable<Uint8Array>,
  context: StorageContext,
  interrupter: Interrupter,
): Promise<Spool> {
  const path = join(context.paths.spool, randomBytes(8).toString("hex"));
  const handle = await open(path, "wx+", 0o600).catch((error: unknown) => {
    throw toStorageError("spool content", error);
  });
  const spool = new SpoolFile(path, handle, context);
  try {
    await spool.receive(interrupter.iterate(content));
    return spool;
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

class SpoolFile implements Spool {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #context: StorageContext;
  #length = 0;
  #disposing: Promise<void> | undefined;

  constructor(path: string, handle: FileHandle, context: StorageContext) {
    this.#path = path;
    this.#handle = handle;
    this.#context = context;
  }

  get length(): number {
    return this.#length;
  }

  async receive(content: AsyncIterable<Uint8Array>): Promise<void> {
    await using writer = new ContentWriter({
      handle: this.#handle,
      pool: this.#context.writeBuffers,
      position: 0,
      action: "spool content",
    });
    for await (const chunk of content) {
      await writer.write(chunk);
      this.#length += chunk.byteLength;
    }
    await writer.flush();
  }

  /** A chunk is the consumer's until the next is asked for. */
  async *read(range: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    assertRange(range, this.#length);
    const buffer = this.#context.readBuffers.take();
    for (let done = 0; done < range.length;) {
      const length = Math.min(buffer.byteLength, range.length - done);
      const count = await this.#fill(buffer, { length, position: range.offset + done });
      if (count < length) {
        throw new StorageError("ERR_IO", "Cannot read spooled content: its file was cut short");
      }
      yield buffer.subarray(0, length);
      done += length;
    }
    this.#context.readBuffers.giveBack(buffer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#remove();
    return this.#disposing;
  }

  async #fill(
    buffer: Uint8Array,
    range: { readonly length: number; readonly position: number },
  ): Promise<number> {
    try {
      return await readFully(this.#handle, buffer, range);
    } catch (error) {
      throw toStorageError("read spooled content", error);
    }
  }

  async #remove(): Promise<void> {
    try {
      await this.#handle.close();
      await removeIfThere(this.#path);
    } catch (error) {
      throw toStorageError("remove spooled content", error);
    }
  }
}
