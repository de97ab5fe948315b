import { describe, expect, it } from "vitest";

import { RateMeter } from "./rate-meter.ts";

describe("RateMeter", () => {
  it("knows no rate before time has passed", () => {
    expect(new RateMeter(1000).measure(1000, 500)).toBe(0);
  });

  it("is the average of the whole while the download is young", () => {
    const meter = new RateMeter(0);
    meter.measure(500, 1000);
    expect(meter.measure(2000, 4000)).toBe(2000);
  });

  it("forgets what was longer ago than its window", () => {
    const meter = new RateMeter(0);
    for (let at = 100; at <= 10_000; at += 100) meter.measure(at, at * 10);
    for (let at = 10_100; at <= 20_000; at += 100) meter.measure(at, 100_000);
    expect(meter.measure(20_000, 100_000)).toBe(0);
  });
});
