import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clampByteRange, parseByteRange, piecesOfRange } from "./byte-range.ts";

describe("parseByteRange", () => {
  it.each([
    ["bytes=0-0", { offset: 0, length: 1 }],
    ["bytes=10-19", { offset: 10, length: 10 }],
    ["bytes=90-", { offset: 90, length: 10 }],
    ["bytes=-5", { offset: 95, length: 5 }],
    ["bytes=-500", { offset: 0, length: 100 }],
    ["bytes=50-1000", { offset: 50, length: 50 }],
  ])("reads %s of 100 bytes", (value, expected) => {
    expect(parseByteRange(value, 100)).toEqual(expected);
  });

  it.each([
    "",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=5-4",
    "bytes=100-",
    "bytes=-0",
    "bytes=0-1,3-4",
    "chunks=0-1",
  ])("refuses '%s' of 100 bytes", (value) => {
    expect(() => parseByteRange(value, 100)).toThrow(
      expect.objectContaining({ code: "ERR_RANGE" }),
    );
  });
});

describe("piecesOfRange", () => {
  const tasks = fc.record({
    contentLength: fc.integer({ min: 1, max: 10_000 }),
    pieceLength: fc.integer({ min: 1, max: 500 }),
  });

  it("names exactly the pieces that share a byte with the range", () => {
    fc.assert(
      fc.property(
        tasks,
        fc.nat(9_999),
        fc.integer({ min: 1, max: 12_000 }),
        (task, offset, length) => {
          fc.pre(offset < task.contentLength);
          const range = clampByteRange({ offset, length }, task.contentLength);
          const expected = new Set<number>();
          for (let byte = range.offset; byte < range.offset + range.length; byte += 1)
            expected.add(Math.floor(byte / task.pieceLength));
          expect(piecesOfRange(task, range)).toEqual([...expected]);
        },
      ),
    );
  });

  it("names every piece without a range", () => {
    fc.assert(
      fc.property(tasks, (task) => {
        const numbers = piecesOfRange(task);
        expect(numbers).toEqual(numbers.map((_, index) => index));
        expect(numbers.length).toBe(Math.ceil(task.contentLength / task.pieceLength));
      }),
    );
    expect(piecesOfRange({ contentLength: 0, pieceLength: 4 })).toEqual([]);
  });
});
