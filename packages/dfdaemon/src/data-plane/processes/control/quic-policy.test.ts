import { describe, expect, it } from "vitest";
import { QuicPolicy } from "./quic-policy.ts";

const MINUTE_MS = 60_000;

describe("QuicPolicy", () => {
  it("leaves QUIC out after the third end within ten minutes, for good, and says so once", () => {
    const told: number[] = [];
    const policy = new QuicPolicy((endCount) => void told.push(endCount));
    for (const minute of [0, 1]) policy.ended(minute * MINUTE_MS);
    expect(policy.isLeftOut).toBe(false);
    for (const minute of [9, 10, 1000]) policy.ended(minute * MINUTE_MS);
    expect(policy.isLeftOut).toBe(true);
    expect(told).toEqual([3]);
  });

  it("forgives ends that are long past", () => {
    const policy = new QuicPolicy(() => {});
    for (let minute = 0; minute < 100; minute += 6) policy.ended(minute * MINUTE_MS);
    expect(policy.isLeftOut).toBe(false);
  });
});
