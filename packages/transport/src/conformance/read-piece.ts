import type { PieceDownload } from "../transport.ts";
import { fillContent } from "./synthetic-source.ts";

/**
 * Reads a piece to its end and compares every byte with what the synthetic source holds.
 *
 * @param offset of the first byte in its piece, where a range was asked for
 * @returns how many bytes it yielded
 * @throws {RangeError} naming the first chunk that is wrong
 */
export async function readPiece(
  download: PieceDownload,
  onChunk?: (received: number) => Promise<void> | void,
  offset = 0,
): Promise<number> {
  let received = 0;
  for await (const chunk of download.content) {
    assertContent(chunk, download.piece.number, offset + received);
    received += chunk.byteLength;
    await onChunk?.(received);
  }
  return received;
}

/** @throws {RangeError} if `chunk` is not what the piece holds from `position` on */
function assertContent(chunk: Uint8Array, pieceNumber: number, position: number): void {
  if (chunk.byteLength === 0) throw new RangeError(`An empty chunk came at ${position}`);
  const expected = new Uint8Array(chunk.byteLength);
  fillContent(expected, pieceNumber, position);
  if (Buffer.compare(expected, chunk) === 0) return;
  throw new RangeError(
    `Piece ${pieceNumber} is wrong in the ${chunk.byteLength} bytes from ${position} on`,
  );
}

/** The error a promise ends in. @throws {RangeError} if it ends in a value */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await work;
  } catch (error) {
    return error;
  }
  throw new RangeError(`Expected a failure, but it ended in ${String(value)}`);
}

/** The code of the error a promise ends in. */
export async function codeOf(work: Promise<unknown>): Promise<unknown> {
  const error = await failureOf(work);
  return error instanceof Error && "code" in error ? error.code : error;
}
