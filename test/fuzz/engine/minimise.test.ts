import { describe, expect, it } from "vitest";
import { minimise } from "./minimise.ts";

const limits = { attemptsMax: 1_000, secondsMax: 60 };
const items = Array.from({ length: 100 }, (_, index) => index);

describe("minimise", () => {
  it("leaves what it takes to fail, in its order", async () => {
    const stillFails = async (fewer: readonly number[]): Promise<boolean> =>
      [3, 57, 98].every((item) => fewer.includes(item));
    expect(await minimise(items, stillFails, limits)).toEqual([3, 57, 98]);
  });

  it("keeps to its limit, and to what is known to fail", async () => {
    let count = 0;
    const never = async (): Promise<boolean> => {
      count++;
      return false;
    };
    expect(await minimise(items, never, { ...limits, attemptsMax: 10 })).toBe(items);
    expect(count).toBe(10);
  });
});
