import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { durationFromMs, durationToMs, timestampFromDate, timestampToDate } from "./time.ts";

describe("durations and timestamps", () => {
  it("keep milliseconds", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e12 }), (ms) => {
        expect(durationToMs(durationFromMs(ms))).toBe(ms);
        expect(timestampToDate(timestampFromDate(new Date(ms))).getTime()).toBe(ms);
      }),
    );
  });

  it("have nanoseconds in the range that protobuf demands", () => {
    expect(durationFromMs(1500.5)).toEqual({ seconds: 1, nanos: 500_500_000 });
    expect(durationFromMs(-1500)).toEqual({ seconds: -1, nanos: -500_000_000 });
    expect(durationFromMs(999.9999999)).toEqual({ seconds: 1, nanos: 0 });
    expect(timestampFromDate(new Date(-1))).toEqual({ seconds: -1, nanos: 999_000_000 });
    expect(timestampToDate({ seconds: 1, nanos: 1_999_999 }).getTime()).toBe(1001);
  });
});
