import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LengthSearch } from "./length-search.ts";

const PLAN = { start: 1350, steps: [1452, 8972], max: 8972, isLocal: false };
/** A probe is a few bytes shorter than what it is for. */
const PROBE = 3;

/** Asks every 100 ms, answers or loses probes as a path of `lengthMax()` would; returns the lengths probed for. */
function run(
  search: LengthSearch,
  { from, until, lengthMax }: { from: number; until: number; lengthMax: () => number },
): number[] {
  const probed: number[] = [];
  for (let now = from; now < until; now += 100) {
    const length = search.probeLength(now);
    if (length === 0) continue;
    probed.push(length);
    search.onProbeSent(now + 500);
    if (length <= lengthMax()) search.onProven(length - PROBE);
  }
  return probed;
}

describe("LengthSearch", () => {
  it("goes up step by step, and stops at the top", () => {
    const search = new LengthSearch(PLAN);
    expect(search.length).toBe(1350);
    const probed = run(search, { from: 0, until: 10_000_000, lengthMax: () => 9000 });
    expect(probed).toEqual([1452, 8972]);
    expect(search.length).toBe(8969);
  });

  it("tries twice what does not arrive, and again when routes may have changed", () => {
    const search = new LengthSearch(PLAN);
    expect(run(search, { from: 0, until: 500_000, lengthMax: () => 1500 })).toEqual([
      1452, 8972, 8972,
    ]);
    expect(search.length).toBe(1449);
    expect(run(search, { from: 500_000, until: 700_000, lengthMax: () => 9000 })).toEqual([8972]);
    expect(search.length).toBe(8969);
  });

  it("waits as long as a probe has not left", () => {
    const search = new LengthSearch(PLAN);
    for (let now = 0; now < 1_000_000; now += 1000) expect(search.probeLength(now)).toBe(1452);
    search.onProbeSent(1_000_500);
    expect(search.probeLength(1_000_100)).toBe(0);
  });

  it("goes to the minimum when packets turn out too long, and comes back soon after an outage", () => {
    const search = new LengthSearch(PLAN);
    run(search, { from: 0, until: 1_000, lengthMax: () => 9000 });
    search.onTooLong(search.length, 1_000);
    expect(search.length).toBe(1200);
    expect(search.probeLength(1_500)).toBe(0);
    expect(run(search, { from: 1_500, until: 3_000, lengthMax: () => 9000 })).toEqual([
      1350, 1452, 8972,
    ]);
    expect(search.length).toBe(8969);
  });

  it("asks less and less often on a path that stays narrow", () => {
    const search = new LengthSearch(PLAN);
    search.onTooLong(1350, 0);
    const probed = run(search, { from: 0, until: 3_600_000, lengthMax: () => 1300 });
    expect(new Set(probed)).toEqual(new Set([1350]));
    expect(probed.length).toBeLessThanOrEqual(2 * 8);
    expect(search.length).toBe(1200);
  });

  it("takes the kernel's word that a probe is too long", () => {
    const search = new LengthSearch(PLAN);
    expect(search.probeLength(0)).toBe(1452);
    search.onProbeSent(500);
    search.onTooLong(1449, 10);
    expect(search.length).toBe(1350);
    expect(search.probeLength(1_000)).toBe(0);
  });

  it("does not mind that the minimum is called too long: there is nothing below it", () => {
    const search = new LengthSearch(PLAN);
    search.onTooLong(1200, 0);
    expect(search.length).toBe(1350);
  });

  it("ends at the longest length that a path takes, whatever happened before", () => {
    const event = fc.record({ seconds: fc.integer({ min: 1, max: 2_000 }), max: fc.nat(9_100) });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 8 }), (events) => {
        const search = new LengthSearch(PLAN);
        let now = 0;
        let lengthMax = 9_000;
        const step = (seconds: number): void => {
          // What is longer than the path gets lost, which is noticed.
          if (search.length > lengthMax) search.onTooLong(search.length, now);
          run(search, { from: now, until: now + seconds * 1000, lengthMax: () => lengthMax });
          now += seconds * 1000;
          expect(search.length).toBeLessThanOrEqual(Math.max(1200, lengthMax));
        };
        for (const { seconds, max } of events) {
          lengthMax = max;
          step(seconds);
        }
        lengthMax = 9_000;
        step(4_000);
        expect(search.length).toBe(8969);
      }),
      { numRuns: 30 },
    );
  });
});
