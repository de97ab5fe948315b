import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choosePieceLength, countPieces, PIECE_LENGTH_MIN } from "./piece-length.ts";
import vectors from "./vectors/ids.json" with { type: "json" };

const { pieceLengths } = vectors;

describe("choosePieceLength", () => {
  it.each(pieceLengths)(
    "cuts $contentLength bytes into $pieceCount pieces of $pieceLength",
    ({ contentLength, pieceLength, pieceCount }) => {
      expect(choosePieceLength(contentLength)).toBe(pieceLength);
      expect(countPieces(contentLength, pieceLength)).toBe(pieceCount);
    },
  );

  it("is a power of two from 4 to 64 MiB that makes at most 501 pieces below the cap", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (contentLength) => {
        const length = choosePieceLength(contentLength);
        expect(Math.log2(length) % 1).toBe(0);
        expect(length).toBeGreaterThanOrEqual(PIECE_LENGTH_MIN);
        expect(length).toBeLessThanOrEqual(64 * 2 ** 20);
        if (length < 64 * 2 ** 20)
          expect(countPieces(contentLength, length)).toBeLessThanOrEqual(501);
      }),
    );
  });
});
