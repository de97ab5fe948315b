import { TransportError } from "./errors.ts";

/** Some bytes of a piece. */
export interface ByteRange {
  /** Bytes from the start of the piece. */
  readonly offset: number;
  /** Bytes, at least 1. What lies beyond the end of the piece is left out, as with HTTP (RFC 9110, section 14.1.2). */
  readonly length: number;
}

/** @throws {RangeError} unless both numbers are what a request can carry */
export function assertByteRange({ offset, length }: ByteRange): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 1) {
    return;
  }
  throw new RangeError(
    `Cannot ask for ${length} bytes at ${offset}: the offset must be an integer from 0, the length from 1`,
  );
}

/**
 * The part of a range that a piece of `pieceLength` bytes has; without a range, all of it.
 *
 * @throws {TransportError} `ERR_PIECE_NOT_FOUND` if the range begins beyond the end
 */
export function clipByteRange(range: ByteRange | undefined, pieceLength: number): ByteRange {
  if (range === undefined) return { offset: 0, length: pieceLength };
  const { offset } = range;
  if (offset > pieceLength) {
    throw new TransportError(
      "ERR_PIECE_NOT_FOUND",
      `Cannot read the piece from byte ${offset} on: it has ${pieceLength} bytes`,
    );
  }
  return { offset, length: Math.min(range.length, pieceLength - offset) };
}
