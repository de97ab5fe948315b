/** Bytes; the least piece length a request may ask for, and the shortest ever chosen. */
export const PIECE_LENGTH_MIN: number = 4 * 2 ** 20;

/** Bytes; the longest a request may ask for, and ever chosen: Dragonfly's scheduler refuses longer ones. */
export const PIECE_LENGTH_MAX: number = 64 * 2 ** 20;

/**
 * Bytes a piece of a file of `contentLength` bytes has, when the request does not say: the power of two that makes about
 * `PIECE_COUNT_TARGET` pieces, from 4 to 64 MiB. Every daemon must choose alike, or their pieces do not fit together.
 * Source: dragonflyoss/client, piece.rs, `calculate_piece_length`.
 */
export function choosePieceLength(contentLength: number): number {
  const fair = Math.floor(contentLength / PIECE_COUNT_TARGET);
  let length = PIECE_LENGTH_MIN;
  while (length < fair && length < PIECE_LENGTH_MAX) length *= 2;
  return length;
}

/** Pieces in a file of `contentLength` bytes; the last may be shorter. An empty file has none. */
export function countPieces(contentLength: number, pieceLength: number): number {
  return Math.ceil(contentLength / pieceLength);
}

const PIECE_COUNT_TARGET = 500;
