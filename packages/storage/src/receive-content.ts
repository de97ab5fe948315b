import type { BufferPool } from "./buffer-pool.ts";
import { ContentWriter } from "./content-writer.ts";
import { createDigester } from "./digester.ts";
import { StorageError } from "./errors.ts";
import type { FileHandle } from "./file-system.ts";
import type { PieceTarget } from "./storage.ts";

/**
 * Streams content to its place in an open file. Resolves once every byte is with the kernel, with its digests in the order of
 * `target.algorithms`.
 *
 * @throws {StorageError} `ERR_PIECE_LENGTH` unless the content has `target.length` bytes; what the disk says
 * @throws whatever `content` throws
 */
export async function receiveContent(
  handle: FileHandle,
  target: PieceTarget,
  { content, pool }: { readonly content: AsyncIterable<Uint8Array>; readonly pool: BufferPool },
): Promise<readonly string[]> {
  const { offset, length, algorithms, action } = target;
  const digesters = algorithms.map((algorithm) => createDigester(algorithm));
  await using writer = new ContentWriter({ handle, pool, position: offset, action });
  let count = 0;
  for await (const chunk of content) {
    count += chunk.byteLength;
    if (count > length) throw wrongLength(target, `at least ${count}`);
    for (const digester of digesters) digester.update(chunk);
    const written = writer.write(chunk);
    if (written !== undefined) await written;
  }
  if (count < length) throw wrongLength(target, String(count));
  await writer.flush();
  return digesters.map((digester) => digester.text());
}

function wrongLength({ action, length }: PieceTarget, got: string): StorageError {
  return new StorageError(
    "ERR_PIECE_LENGTH",
    `Cannot ${action}: content is ${got} bytes, expected ${length}`,
  );
}
