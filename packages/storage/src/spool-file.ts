import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { join } from "node:path";

import type { BufferPool } from "./buffer-pool.ts";
import type { StorageContext } from "./context.ts";
import { ContentWriter } from "./content-writer.ts";
import { StorageError, toStorageError } from "./errors.ts";
import type { FileHandle, FileSystem } from "./file-system.ts";
import { readFully, removeIfThere } from "./file-io.ts";
import type { Interrupter } from "./interrupter.ts";
import { assertRange, type ByteRange } from "./read-content.ts";
import type { Spool, SpoolSender } from "./storage.ts";

/** As `Storage.spool` has it. Whatever goes wrong, no file is left. */
export async function receiveSpool(
  content: AsyncIterable<Uint8Array> | SpoolSender,
  context: StorageContext,
  interrupter: Interrupter,
): Promise<Spool> {
  const path = join(context.paths.spool, randomBytes(8).toString("hex"));
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const { layout, fileSystem } = context;
  const opening = layout.retry(() => fileSystem.open(path, flags, 0o600));
  const handle = await opening.catch((error: unknown) => {
    throw toStorageError("spool content", error);
  });
  const spool = new SpoolFile(path, handle, context);
  try {
    await spool.receive(content, interrupter);
    return spool;
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

/** Writes content of unknown length to the start of a file. Resolves with its length in bytes. */
export async function writeSpool(
  handle: FileHandle,
  { content, pool }: { readonly content: AsyncIterable<Uint8Array>; readonly pool: BufferPool },
): Promise<number> {
  await using writer = new ContentWriter({ handle, pool, position: 0, action: "spool content" });
  let length = 0;
  for await (const chunk of content) {
    await writer.write(chunk);
    length += chunk.byteLength;
  }
  await writer.flush();
  return length;
}

/** A chunk is the consumer's until the next is asked for. */
export async function* readSpool(
  handle: FileHandle,
  { range, pool }: { readonly range: ByteRange; readonly pool: BufferPool },
): AsyncGenerator<Uint8Array, void, undefined> {
  const buffer = pool.take();
  for (let done = 0; done < range.length;) {
    const length = Math.min(buffer.byteLength, range.length - done);
    const count = await fill(handle, buffer, { length, position: range.offset + done });
    if (count < length) {
      throw new StorageError("ERR_IO", "Cannot read spooled content: its file was cut short");
    }
    yield buffer.subarray(0, length);
    done += length;
  }
  pool.giveBack(buffer);
}

/** For a process that did not create it. */
export async function openSpool(files: FileSystem, path: string): Promise<FileHandle> {
  try {
    return await files.open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    throw toStorageError("open spooled content", error);
  }
}

class SpoolFile implements Spool {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #context: StorageContext;
  #length = 0;
  #disposing: Promise<void> | undefined;

  constructor(path: string, handle: FileHandle, context: StorageContext) {
    this.path = path;
    this.#handle = handle;
    this.#context = context;
  }

  get length(): number {
    return this.#length;
  }

  async receive(
    content: AsyncIterable<Uint8Array> | SpoolSender,
    interrupter: Interrupter,
  ): Promise<void> {
    if ("spoolTo" in content) {
      const { signal, release } = interrupter.signal();
      try {
        this.#length = await content.spoolTo(this.path, { signal });
      } finally {
        release();
      }
      return;
    }
    const pool = this.#context.writeBuffers;
    this.#length = await writeSpool(this.#handle, { content: interrupter.iterate(content), pool });
  }

  async *read(range: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    assertRange(range, this.#length);
    yield* readSpool(this.#handle, { range, pool: this.#context.readBuffers });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#remove();
    return this.#disposing;
  }

  async #remove(): Promise<void> {
    try {
      await this.#handle.close();
      await removeIfThere(this.#context.fileSystem, this.path);
    } catch (error) {
      throw toStorageError("remove spooled content", error);
    }
  }
}

async function fill(
  handle: FileHandle,
  buffer: Uint8Array,
  range: { readonly length: number; readonly position: number },
): Promise<number> {
  try {
    return await readFully(handle, buffer, range);
  } catch (error) {
    throw toStorageError("read spooled content", error);
  }
}
