import { describe, expect, it } from "vitest";
import { formatSpan, repeatTimeOf, warningTimeOf } from "./certificate-expiry.ts";

const DAY_MS = 86_400_000;

describe("when to say that a certificate runs out", () => {
  it("is thirty days before, of what is good for less than ninety a third", () => {
    const of = (days: number): number =>
      warningTimeOf({ serial: "1", validFromMs: 0, validToMs: days * DAY_MS }) / DAY_MS;
    expect([365, 90, 30, 1].map(of)).toEqual([30, 30, 10, 1 / 3]);
  });

  it("is every day, in the last one every hour", () => {
    expect(repeatTimeOf(20 * DAY_MS)).toBe(DAY_MS);
    expect(repeatTimeOf(DAY_MS - 1)).toBe(DAY_MS / 24);
    expect(repeatTimeOf(-5)).toBe(DAY_MS / 24);
  });
});

describe("formatSpan", () => {
  it.each([
    [10.9 * DAY_MS, "10 days"],
    [2 * DAY_MS, "2 days"],
    [1.99 * DAY_MS, "47 hours"],
    [7_200_000, "2 hours"],
    [7_199_999, "119 minutes"],
    [60_000, "1 minute"],
    [-3 * DAY_MS, "3 days"],
  ])("says %d ms as %s", (ms, text) => {
    expect(formatSpan(ms)).toBe(text);
  });
});
