import type { BufferPool } from "./buffer-pool.ts";
import { createDigester, strongestDigestOf } from "./digester.ts";
import { systemCode } from "./errors.ts";
import type { FileHandle } from "./file-system.ts";
import { readFully, writeAll } from "./file-io.ts";
import type { PieceInfo } from "@damselfly/transport";

/** Whether these bytes have the digest of a piece, the strongest of those that are known. */
export function isPieceOf(piece: PieceInfo, content: Uint8Array): boolean {
  const expected = strongestDigestOf(piece);
  const digester = createDigester(expected.algorithm);
  digester.update(content);
  return digester.text() === expected.text;
}

/**
 * Whether the bytes of a piece in `source` have its digest, the strongest of those that are known. With a `target` they are copied there on the way; if the
 * answer is false, the target holds rubbish at that place.
 *
 * @throws what the file system throws, but for a sector that cannot be read: that piece is simply not good
 */
export async function checkPiece(
  piece: PieceInfo,
  options: {
    readonly source: FileHandle;
    readonly target?: FileHandle;
    readonly pool: BufferPool;
    /** Called after each read, with its length in bytes. */
    readonly pace?: ((length: number) => Promise<void> | void) | undefined;
  },
): Promise<boolean> {
  const { source, target, pool, pace } = options;
  const expected = strongestDigestOf(piece);
  const digester = createDigester(expected.algorithm);
  const buffer = pool.take();
  try {
    for (let done = 0; done < piece.length;) {
      const length = Math.min(buffer.byteLength, piece.length - done);
      const position = piece.offset + done;
      const count = await readUnlessBroken(source, buffer, { length, position });
      if (count < length) return false;
      const bytes = buffer.subarray(0, length);
      digester.update(bytes);
      if (target !== undefined) await writeAll(target, bytes, position);
      done += length;
      await pace?.(length);
    }
  } finally {
    pool.giveBack(buffer);
  }
  return digester.text() === expected.text;
}

async function readUnlessBroken(
  source: FileHandle,
  buffer: Uint8Array,
  range: { readonly length: number; readonly position: number },
): Promise<number> {
  try {
    return await readFully(source, buffer, range);
  } catch (error) {
    if (systemCode(error) === "EIO") return 0;
    throw error;
  }
}
