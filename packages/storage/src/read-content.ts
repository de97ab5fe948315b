import type { BufferPool } from "./buffer-pool.ts";
import { StorageError, toStorageError } from "./errors.ts";
import { readFully } from "./file-io.ts";
import type { TaskContent } from "./task-content.ts";

/** How often a file may be shorter than it should be, with nothing that shows why, before it is believed. */
const SHORT_COUNT_MAX = 3;

export interface ByteRange {
  /** Bytes from the start. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/**
 * Reads trusted bytes of a content file. The file is looked at after each read and before its bytes are handed on, so an edit
 * of a hard-linked output does not slip in while a long read is under way. A chunk is the consumer's until the next is asked for.
 *
 * @param options.assertPresent throws unless every piece in the range is there
 * @throws {StorageError}
 */
export async function* readContent(
  content: TaskContent,
  range: ByteRange,
  options: {
    readonly pool: BufferPool;
    readonly assertPresent: (range: ByteRange) => void;
  },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { pool, assertPresent } = options;
  const end = range.offset + range.length;
  await content.check();
  assertPresent(range);

  const buffer = pool.take();
  let epoch = content.epoch;
  let file = await content.acquire();
  let finished = false;
  let shortCount = 0;
  try {
    for (let position = range.offset; position < end;) {
      const length = Math.min(buffer.byteLength, end - position);
      const count = await readFully(file.handle, buffer, { length, position });
      await content.check();
      assertPresent({ offset: position, length });
      if (content.epoch !== epoch || count < length) {
        shortCount = content.epoch === epoch ? shortCount + 1 : 0;
        if (shortCount === SHORT_COUNT_MAX) throw endsEarly(position + count, end);
        file.release();
        epoch = content.epoch;
        file = await content.acquire();
        continue;
      }
      shortCount = 0;
      yield buffer.subarray(0, length);
      position += length;
    }
    finished = true;
  } catch (error) {
    throw toStorageError("read content", error);
  } finally {
    file.release();
    // Only a consumer that asked for the end is known to be done with the last chunk.
    if (finished) pool.giveBack(buffer);
  }
}

function endsEarly(found: number, expected: number): StorageError {
  return new StorageError(
    "ERR_IO",
    `Cannot read content: its file ends after ${found} bytes, expected were ${expected}`,
  );
}

/** @throws {RangeError} unless the range lies within `length` bytes */
export function assertRange(range: ByteRange, length: number): void {
  const { offset, length: count } = range;
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(count) && offset >= 0 && count >= 0) {
    if (offset + count <= length) return;
  }
  throw new RangeError(`Cannot read ${count} bytes at ${offset}: the content has ${length} bytes`);
}
