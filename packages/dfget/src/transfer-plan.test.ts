import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { RequestedRange } from "./options.ts";
import { planTransfer, resolveRange } from "./transfer-plan.ts";

function piecesOf(contentLength: number, pieceLength: number) {
  return Array.from({ length: Math.ceil(contentLength / pieceLength) }, (_, number) => {
    const offset = number * pieceLength;
    return { number, offset, length: Math.min(pieceLength, contentLength - offset) };
  });
}

const range: fc.Arbitrary<RequestedRange | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.record({
    kind: fc.constant("between" as const),
    offset: fc.nat(300),
    length: fc.integer({ min: 1, max: 300 }),
  }),
  fc.record({ kind: fc.constant("from" as const), offset: fc.nat(300) }),
  fc.record({ kind: fc.constant("last" as const), length: fc.integer({ min: 1, max: 300 }) }),
);

describe("planTransfer", () => {
  it("cuts the pieces so that together they are exactly the range, in whatever order they were announced", () => {
    const task = fc.integer({ min: 1, max: 200 }).chain((contentLength) =>
      fc.record({
        contentLength: fc.constant(contentLength),
        pieces: fc.integer({ min: 1, max: 250 }).chain((pieceLength) =>
          fc.shuffledSubarray(piecesOf(contentLength, pieceLength), {
            minLength: Math.ceil(contentLength / pieceLength),
          }),
        ),
      }),
    );
    fc.assert(
      fc.property(task, range, (started, asked) => {
        const content = Array.from({ length: started.contentLength }, (_, index) => index);
        let wanted;
        try {
          wanted = resolveRange(asked, started.contentLength);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_RANGE" });
          return;
        }
        const plan = planTransfer(started, asked);
        const output: number[] = Array.from({ length: plan.length });
        for (const { number, offset } of started.pieces) {
          const share = plan.pieces.get(number);
          for (let at = 0; at < (share?.length ?? 0); at += 1) {
            expect(output[share!.offset + at]).toBeUndefined();
            output[share!.offset + at] = content[offset + share!.skip + at]!;
          }
        }
        expect(output).toEqual(content.slice(wanted.offset, wanted.offset + wanted.length));
      }),
    );
  });

  it("is content with only the pieces of the range", () => {
    const plan = planTransfer(
      { contentLength: 100, pieces: [{ number: 2, offset: 20, length: 10 }] },
      { kind: "between", offset: 25, length: 5 },
    );
    expect([...plan.pieces]).toEqual([[2, { offset: 0, length: 5, pieceLength: 10, skip: 5 }]]);
  });

  it.each([
    [
      "a gap",
      [
        { number: 0, offset: 0, length: 4 },
        { number: 1, offset: 5, length: 5 },
      ],
      "piece 1 starts at 5, where 4 was expected",
    ],
    [
      "an overlap",
      [
        { number: 0, offset: 0, length: 6 },
        { number: 1, offset: 5, length: 5 },
      ],
      "piece 1 starts at 5, where 6 was expected",
    ],
    ["too little", [{ number: 0, offset: 0, length: 9 }], "the announced pieces end at 9 of 10"],
    ["nothing", [], "the announced pieces end at 0 of 10"],
    [
      "a piece beyond the end",
      [{ number: 0, offset: 0, length: 11 }],
      "piece 0 is said to have 11 bytes from 0 of 10",
    ],
    [
      "one number twice",
      [
        { number: 0, offset: 0, length: 5 },
        { number: 0, offset: 5, length: 5 },
      ],
      "piece 0 is announced twice",
    ],
    [
      "a number that is none",
      [{ number: 0, offset: 0, length: 2 ** 60 }],
      "piece 0 is said to have",
    ],
  ])("refuses %s", (_, pieces, message) => {
    expect(() => planTransfer({ contentLength: 10, pieces }, undefined)).toThrow(message);
  });

  it("refuses a length that is none", () => {
    expect(() => planTransfer({ contentLength: 2 ** 60, pieces: [] }, undefined)).toThrow(
      "the file is said to have",
    );
  });
});

describe("resolveRange", () => {
  it("finds no range in an empty file, but the file itself", () => {
    expect(resolveRange(undefined, 0)).toEqual({ offset: 0, length: 0 });
    expect(() => resolveRange({ kind: "last", length: 5 }, 0)).toThrow("the file has 0 bytes");
  });
});
