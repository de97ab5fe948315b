import { Allowance } from "@damselfly/limits";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PAGE_LENGTH, PieceNumbers } from "./piece-numbers.ts";

const NUMBERS = fc.array(fc.oneof(fc.nat(3_000), fc.nat(2 ** 20), fc.nat(2 ** 32 - 1)));

function of(numbers: readonly number[], allowance = new Allowance(Infinity)): PieceNumbers {
  const result = new PieceNumbers(allowance);
  for (const number of numbers) result.add(number);
  return result;
}

describe("PieceNumbers", () => {
  it("is a set of numbers", () => {
    fc.assert(
      fc.property(NUMBERS, NUMBERS, (numbers, others) => {
        const set = new Set(numbers);
        const pieces = of(numbers);
        expect(pieces.size).toBe(set.size);
        for (const number of [...numbers, ...others]) {
          expect(pieces.has(number)).toBe(set.has(number));
        }
        const isMore = numbers.some((number) => !others.includes(number));
        expect(pieces.exceeds(of(others))).toBe(isMore);
      }),
    );
  });

  it("takes no more memory than it may, and gives it back", () => {
    const allowance = new Allowance(2 * PAGE_LENGTH);
    const pieces = of([0, 1, 1_023, 1_024], allowance);
    expect(pieces.add(2_048)).toBe(false);
    expect(pieces.has(2_048)).toBe(false);
    expect(pieces.add(1_025)).toBe(true);
    expect(of([5], allowance).size).toBe(0);
    pieces.clear();
    expect(pieces.size).toBe(0);
    expect(pieces.has(0)).toBe(false);
    expect(of([5], allowance).size).toBe(1);
  });
});
