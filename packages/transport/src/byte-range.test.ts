import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assertByteRange, clipByteRange } from "./byte-range.ts";

describe("assertByteRange", () => {
  it.each([
    { offset: -1, length: 1 },
    { offset: 0, length: 0 },
    { offset: 0, length: -1 },
    { offset: 0.5, length: 1 },
    { offset: 0, length: 1.5 },
    { offset: 2 ** 53, length: 1 },
    { offset: 0, length: Number.POSITIVE_INFINITY },
    { offset: Number.NaN, length: 1 },
  ])("refuses $length bytes at $offset", (range) => {
    expect(() => assertByteRange(range)).toThrow(RangeError);
  });

  it("takes every range that fits into a request", () => {
    assertByteRange({ offset: 0, length: 1 });
    assertByteRange({ offset: Number.MAX_SAFE_INTEGER, length: Number.MAX_SAFE_INTEGER });
  });
});

describe("clipByteRange", () => {
  it("is the whole piece without a range", () => {
    expect(clipByteRange(undefined, 7)).toEqual({ offset: 0, length: 7 });
  });

  it("refuses a range that begins beyond the end", () => {
    expect(() => clipByteRange({ offset: 8, length: 1 }, 7)).toThrow("it has 7 bytes");
  });

  it("never leaves the piece, and leaves out only what lies beyond its end", () => {
    const number = fc.maxSafeNat();
    fc.assert(
      fc.property(number, fc.integer({ min: 1 }), number, (offset, length, pieceLength) => {
        fc.pre(offset <= pieceLength);
        const clipped = clipByteRange({ offset, length }, pieceLength);
        expect(clipped.offset).toBe(offset);
        expect(clipped.offset + clipped.length).toBeLessThanOrEqual(pieceLength);
        expect(clipped.length === length || clipped.offset + clipped.length === pieceLength).toBe(
          true,
        );
      }),
    );
  });
});
