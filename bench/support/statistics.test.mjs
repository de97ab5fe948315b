import { array, assert, integer, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { groupBy, median, medianOf } from "./statistics.mjs";

describe("median", () => {
  it("is the middle of an odd count, and between the two in the middle of an even one", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 6])).toBe(5.5);
  });

  it("is nothing of nothing", () => {
    expect(median([])).toBeUndefined();
  });

  it("has as many numbers above it as below, and leaves them in their order", () => {
    assert(
      property(array(integer(), { minLength: 1 }), (numbers) => {
        const before = [...numbers];
        const middle = median(numbers);
        const below = numbers.filter((number) => number < middle).length;
        const above = numbers.filter((number) => number > middle).length;
        expect(below).toBeLessThanOrEqual(numbers.length / 2);
        expect(above).toBeLessThanOrEqual(numbers.length / 2);
        expect(numbers).toEqual(before);
      }),
    );
  });

  it("leaves out what has no figure", () => {
    const items = [{ rate: 3 }, {}, { rate: Number.NaN }, { rate: 5 }, { rate: 4 }];
    expect(medianOf(items, ({ rate }) => rate)).toBe(4);
  });
});

describe("groupBy", () => {
  it("keeps the order of first appearance", () => {
    const groups = groupBy(["b1", "a1", "b2"], (text) => text[0]);
    expect([...groups]).toEqual([
      ["b", ["b1", "b2"]],
      ["a", ["a1"]],
    ]);
  });
});
