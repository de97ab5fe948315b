import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ContentRates } from "../../content-limits.ts";
import { shareRates } from "./share-rates.ts";

const rates = (uploadRate: number): ContentRates => ({
  uploadRate,
  downloadRate: Infinity,
  originRate: 500,
});
const moved = (uploadRate: number): ContentRates => ({
  uploadRate,
  downloadRate: 7,
  originRate: 0,
});

describe("shareRates", () => {
  it("divides evenly among those who have moved nothing, and what has no bound not at all", () => {
    expect(shareRates(rates(1000), [moved(0), moved(0)])).toEqual([
      { uploadRate: 500, downloadRate: Infinity, originRate: 250 },
      { uploadRate: 500, downloadRate: Infinity, originRate: 250 },
    ]);
  });

  it("gives most of it to the one with something to do, and a little to the others", () => {
    const shares = shareRates(rates(1000), [moved(90), moved(0), moved(0), moved(0)]);
    expect(shares.map(({ uploadRate }) => uploadRate)).toEqual([812.5, 62.5, 62.5, 62.5]);
  });

  it("always gives away the whole, and something to everybody", () => {
    const lengths = fc.array(fc.nat(), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e12 }), lengths, (rate, each) => {
        const shares = shareRates(rates(rate), each.map(moved));
        const total = shares.reduce((sum, { uploadRate }) => sum + uploadRate, 0);
        expect(Math.abs(total - rate)).toBeLessThan(rate * 1e-9);
        expect(Math.min(...shares.map(({ uploadRate }) => uploadRate))).toBeGreaterThan(0);
      }),
    );
  });
});
