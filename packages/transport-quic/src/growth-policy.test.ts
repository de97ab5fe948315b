import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GrowthPolicy, WIDTH_MAX } from "./growth-policy.ts";

/** Lets periods pass on a path that gives `rateOf(width)` bytes a second; returns the widths it had. */
function run(
  policy: GrowthPolicy,
  periodCount: number,
  rateOf: (width: number) => number,
  { requestCount = 100, connectionCountMax = 100, isHard = true } = {},
): number[] {
  return Array.from({ length: periodCount }, () => {
    const bytesPerSecond = rateOf(policy.width);
    const connectionCount = Math.min(policy.width, connectionCountMax);
    policy.observe({ bytesPerSecond, requestCount, connectionCount, isHard });
    return policy.width;
  });
}

describe("GrowthPolicy", () => {
  it("keeps to one connection on a LAN, whatever more would bring", () => {
    const widths = run(new GrowthPolicy(1), 100, (width) => width * 1e6, { isHard: false });
    expect(new Set(widths)).toEqual(new Set([1]));
  });

  it("doubles as long as that brings more, within a few periods", () => {
    const policy = new GrowthPolicy(1);
    run(policy, 8, (width) => width * 1e6);
    expect(policy.width).toBe(WIDTH_MAX);
  });

  it("goes back to the last width that brought more", () => {
    const policy = new GrowthPolicy(1);
    run(policy, 20, (width) => Math.min(width, 4) * 1e6);
    expect(policy.width).toBe(4);
  });

  it("starts with four as soon as the path is known to be hard", () => {
    const policy = new GrowthPolicy(1);
    policy.learn(true);
    expect(policy.width).toBe(4);
  });

  it("judges nothing before the connections are there", () => {
    const policy = new GrowthPolicy(1);
    run(policy, 20, (width) => width * 1e6, { connectionCountMax: 3 });
    expect(policy.width).toBe(4);
  });

  it("stays where it is while there is too little to do", () => {
    const policy = new GrowthPolicy(1);
    run(policy, 100, (width) => width * 1e6, { requestCount: 7 });
    expect(policy.width).toBe(4);
  });

  it("finds out in time that fewer do as well", () => {
    const policy = new GrowthPolicy(8);
    run(policy, 1000, () => 1e6);
    expect(policy.width).toBeLessThanOrEqual(2);
  });

  it("finds out in time that more do better than they did", () => {
    const policy = new GrowthPolicy(2);
    run(policy, 10, () => 1e6);
    expect(policy.width).toBe(2);
    run(policy, 1000, (width) => width * 1e6);
    expect(policy.width).toBe(8);
  });

  it("begins where it ended the last time", () => {
    expect(new GrowthPolicy(8).width).toBe(8);
  });

  it("goes back to one when the path turns out to be short", () => {
    const policy = new GrowthPolicy(8);
    run(policy, 1, () => 1e6, { isHard: false });
    expect(policy.width).toBe(1);
  });

  it("never leaves its bounds, whatever it sees", () => {
    const sample = fc.record({
      bytesPerSecond: fc.double({ min: 0, max: 1e10, noNaN: true }),
      requestCount: fc.nat(20),
      connectionCount: fc.nat(20),
      isHard: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 300 }), (samples) => {
        const policy = new GrowthPolicy(1);
        for (const each of samples) {
          policy.observe(each);
          expect([1, 2, 4, 8]).toContain(policy.width);
        }
      }),
    );
  });
});
