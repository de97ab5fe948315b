import { describe, expect, it } from "vitest";
import { RateWindow } from "./rate-window.ts";

describe("RateWindow", () => {
  it("is what came over the window, or over what has passed of it", () => {
    const rate = new RateWindow(10_000, 0);
    expect(rate.rate(0)).toBe(0);
    rate.add(1_000, 100);
    rate.add(1_000, 900);
    expect(rate.rate(1_000)).toBe(2);
    expect(rate.rate(9_900)).toBeCloseTo(2_000 / 9_900);
    expect(rate.rate(20_000)).toBe(0);
    rate.add(500, 20_000);
    expect(rate.rate(20_100)).toBe(0.05);
  });
});
