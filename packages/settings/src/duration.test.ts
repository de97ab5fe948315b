import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { duration, formatDuration, parseDuration, timerDuration } from "./duration.ts";

describe("parseDuration", () => {
  it.each([
    ["0", 0],
    ["0s", 0],
    ["300ms", 300],
    ["1.5s", 1500],
    ["5m", 300_000],
    ["360s", 360_000],
    ["1h30m", 5_400_000],
    ["1h 30m", 5_400_000],
    ["2 days", 172_800_000],
    ["30d", 2_592_000_000],
    ["1w", 604_800_000],
    [" 10s ", 10_000],
    ["2min", 120_000],
    ["1500us", 1.5],
    ["1000000ns", 1],
    ["1hour 12min 5s", 4_325_000],
    ["15days  2 min", 1_296_120_000],
    ["2wk", 1_209_600_000],
    ["1M", 2_630_016_000],
    ["1month 1m", 2_630_076_000],
    ["1.5years", 47_336_400_000],
  ])("reads %j as %d ms", (text, ms) => {
    expect(parseDuration(text)).toBeCloseTo(ms);
  });

  it.each(["", "5", "m", "5x", "-5m", "5m-", "1e3s", "5 m 3", "5mm", "1.s", "9".repeat(70) + "s"])(
    "refuses %j",
    (text) => expect(parseDuration(text)).toBeUndefined(),
  );

  it("reads back what formatDuration writes", () => {
    fc.assert(
      fc.property(fc.nat({ max: 1e12 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  it("reads any text quickly, and returns a count or nothing", () => {
    const soup = fc.string({ unit: fc.constantFrom("1", ".", "m", "s", "in", "ute", " ", "h") });
    fc.assert(
      fc.property(soup, (text) => {
        const ms = parseDuration(text);
        expect(ms === undefined || (Number.isFinite(ms) && ms >= 0)).toBe(true);
      }),
    );
  });
});

describe("duration", () => {
  it("takes texts and 0, and no other number", () => {
    expect(duration().parse("5m")).toBe(300_000);
    expect(duration().parse(0)).toBe(0);
    expect(duration().safeParse(300).error?.issues[0]?.message).toBe(
      "a duration such as 500ms, 5m or 1h30m",
    );
  });

  it("refuses less than its least", () => {
    expect(duration({ minMs: 1000 }).safeParse("999ms").error?.issues[0]?.message).toBe(
      "a duration of 1s or more",
    );
    expect(duration({ minMs: 1000 }).parse("1s")).toBe(1000);
  });
});

describe("timerDuration", () => {
  it("takes what no timer can hold for the longest that one can, and otherwise what duration takes", () => {
    const schema = timerDuration({ minMs: 1 });
    expect(schema.parse("90s")).toBe(90_000);
    expect(schema.parse("24d")).toBe(24 * 86_400_000);
    expect(schema.parse("30d")).toBe(2 ** 31 - 1);
    expect(schema.parse("1000y")).toBe(2 ** 31 - 1);
    expect(() => schema.parse("0")).toThrow("a duration of 1ms or more");
  });
});
