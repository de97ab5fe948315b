import type { StoredTask } from "@damselfly/storage";
import { describe, expect, it } from "vitest";
import { REPAIRS_MAX, ToldPieces } from "./told-pieces.ts";

/** Compared by identity alone. */
function task(): StoredTask {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a test that needs more would fail
  return {} as StoredTask;
}

describe("ToldPieces", () => {
  it("knows what is left of a content, and goes on with that one only", () => {
    const told = new ToldPieces();
    const [one, other] = [task(), task()];
    expect(told.begin(one)).toBe(true);
    told.add(1);
    expect(told.begin(one)).toBe(false);
    expect(told.untold(one, [0, 1, 2])).toEqual([0, 2]);
    expect(told.untold(other, [0, 1, 2])).toEqual([0, 1, 2]);
    expect(told.begin(other)).toBe(true);
    expect(told.has(1)).toBe(false);
  });

  it("has a piece told of again that was of no use, but not for ever, whatever else comes", () => {
    const told = new ToldPieces();
    for (let count = 0; count < REPAIRS_MAX; count += 1) {
      told.begin(task());
      told.add(7);
      expect(told.lose(7)).toBe(true);
      expect(told.has(7)).toBe(false);
    }
    told.add(7);
    expect(told.lose(7)).toBe(false);
    expect(told.lose(8)).toBe(true);
  });

  it("grows only beyond what it was, so that nobody goes on for ever on that", () => {
    const told = new ToldPieces();
    told.begin(task());
    expect(told.takeGrowth()).toBe(false);
    told.add(0);
    told.add(1);
    expect(told.takeGrowth()).toBe(true);
    expect(told.takeGrowth()).toBe(false);
    told.lose(1);
    told.add(2);
    expect(told.takeGrowth()).toBe(false);
    told.begin(task());
    told.add(0);
    expect(told.takeGrowth()).toBe(false);
  });
});
