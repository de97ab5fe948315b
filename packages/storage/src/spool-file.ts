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
import type { SpoolRoom } from "./spool-room.ts";
import type { Spool, SpoolSender } from "./storage.ts";

/** As `Storage.spool` has it. Whatever goes wrong, no file is left. */
export async function receiveSpool(
  content: AsyncIterable<Uint8Array> | SpoolSender,
  {
    context,
    room,
    interrupter,
  }: {
    readonly context: StorageContext;
    readonly room: SpoolRoom;
    readonly interrupter: Interrupter;
  },
): Promise<Spool> {
  const path = join(context.paths.spool, randomBytes(8).toString("hex"));
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const { layout, fileSystem } = context;
  const opening = layout.retry(() => fileSystem.open(path, flags, 0o600));
  const handle = await opening.catch((error: unknown) => {
    throw toStorageError("spool content", error);
  });
  const spool = new SpoolFile({ path, handle, context, room });
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
  options: {
    readonly content: AsyncIterable<Uint8Array>;
    readonly pool: BufferPool;
    /** Where there is room for it, if the writer is the one to ask. */
    readonly room?: SpoolRoom;
  },
): Promise<number> {
  const { content, pool, room } = options;
  await using writer = new ContentWriter({ handle, pool, position: 0, action: "spool content" });
  let length = 0;
  for await (const chunk of content) {
    length += chunk.byteLength;
    const promised = room?.reach(length);
    if (promised !== undefined) await promised;
    await writer.write(chunk);
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
  readonly #room: SpoolRoom;
  #length = 0;
  #disposing: Promise<void> | undefined;

  constructor(options: {
    readonly path: string;
    readonly handle: FileHandle;
    readonly context: StorageContext;
    readonly room: SpoolRoom;
  }) {
    this.path = options.path;
    this.#handle = options.handle;
    this.#context = options.context;
    this.#room = options.room;
  }

  get length(): number {
    return this.#length;
  }

  async receive(
    content: AsyncIterable<Uint8Array> | SpoolSender,
    interrupter: Interrupter,
  ): Promise<void> {
    if ("spoolTo" in content) {
      this.#length = await this.#receiveFrom(content, interrupter);
      await this.#room.reach(this.#length);
    } else {
      this.#length = await writeSpool(this.#handle, {
        content: interrupter.iterate(content),
        pool: this.#context.writeBuffers,
        room: this.#room,
      });
    }
    this.#room.end();
  }

  async #receiveFrom(sender: SpoolSender, interrupter: Interrupter): Promise<number> {
    const { signal, release } = interrupter.signal();
    const full = new AbortController();
    const onLength = (length: number): void =>
      void this.#room.reach(length)?.catch((error: unknown) => full.abort(error));
    try {
      return await sender.spoolTo(this.path, {
        signal: AbortSignal.any([signal, full.signal]),
        onLength,
      });
    } finally {
      release();
      // Whatever became of the sender then, this is why.
      full.signal.throwIfAborted();
    }
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
      this.#room.remove();
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
