import { describe, expect, it } from "vitest";
import { TokenBucket } from "./token-bucket.ts";

describe("TokenBucket", () => {
  it("lets a burst through, then its rate, and fills up no further than the burst", () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0);
    const take = (now: number, count: number): boolean[] =>
      Array.from({ length: count }, () => bucket.take(now));
    expect(take(0, 4)).toEqual([true, true, true, false]);
    expect(take(99, 1)).toEqual([false]);
    expect(take(100, 2)).toEqual([true, false]);
    expect(take(1_000_000, 4)).toEqual([true, true, true, false]);
  });
});
