import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  formatClock,
  formatDuration,
  formatLength,
  formatLengthOf,
  formatPercent,
  formatRate,
} from "./format-quantities.ts";

describe("formatLength", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1_048_575, "1.00 MiB"],
    [4_194_304, "4.00 MiB"],
    [524_288_000, "500 MiB"],
    [33_000_000, "31.5 MiB"],
    [1_073_741_824, "1.00 GiB"],
    [2 ** 53, "8.00 PiB"],
    [2 ** 70, "1048576 PiB"],
  ])("writes %d as %s", (length, text) => {
    expect(formatLength(length)).toBe(text);
  });

  it("never needs more than four digits", () => {
    fc.assert(
      fc.property(fc.nat(Number.MAX_SAFE_INTEGER), (length) => formatLength(length).length <= 8),
    );
  });
});

describe("formatRate and formatLengthOf", () => {
  it("use the same units", () => {
    expect(formatRate(327_155_712)).toBe("312 MiB/s");
    expect(formatLengthOf(440_401_920, 1_073_741_824)).toBe("0.41/1.00 GiB");
    expect(formatLengthOf(3, 100)).toBe("3/100 B");
    expect(formatLengthOf(52_428_800, 524_288_000)).toBe("50/500 MiB");
  });
});

describe("formatClock", () => {
  it.each([
    [0, "0:00"],
    [999, "0:01"],
    [61_000, "1:01"],
    [3_723_000, "1:02:03"],
    [Infinity, "-:--"],
    [Number.NaN, "-:--"],
  ])("writes %d ms as %s", (ms, text) => {
    expect(formatClock(ms)).toBe(text);
  });
});

describe("formatDuration", () => {
  it.each([
    [3, "0.00 s"],
    [3204, "3.20 s"],
    [12_345, "12.3 s"],
    [99_960, "1 min 40 s"],
    [200_000, "3 min 20 s"],
    [3_900_000, "1 h 5 min"],
  ])("writes %d ms as %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe("formatPercent", () => {
  it("says none and all only when it is none and all", () => {
    expect(formatPercent(0, 100_000)).toBe("0%");
    expect(formatPercent(1, 100_000)).toBe("1%");
    expect(formatPercent(99_999, 100_000)).toBe("99%");
    expect(formatPercent(100_000, 100_000)).toBe("100%");
    expect(formatPercent(0, 0)).toBe("100%");
  });
});
