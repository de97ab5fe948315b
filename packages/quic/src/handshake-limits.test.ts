import { describe, expect, it } from "vitest";
import { DEFAULT_QUIC_LIMITS } from "./endpoint-options.ts";
import { HandshakeLimits } from "./handshake-limits.ts";
import type { QuicLimits } from "./quic.ts";

const WIDE = {
  ...DEFAULT_QUIC_LIMITS,
  halfOpenCountMax: 1000,
  retryHalfOpenCount: 1000,
  halfOpenPerAddressMax: 1000,
  handshakesPerSecondMax: 1000,
};

function create(limits: Partial<QuicLimits>): HandshakeLimits {
  return new HandshakeLimits({ ...WIDE, ...limits });
}

describe("HandshakeLimits", () => {
  it("drops the one beyond the limit of all, proven or not, until one has ended", () => {
    const limits = create({ halfOpenCountMax: 3 });
    const begin = (host: number, isProven = true): string =>
      limits.begin(`10.0.0.${host}`, isProven, 0);
    expect([begin(1), begin(2), begin(3)]).toEqual(["take", "take", "take"]);
    expect([begin(4), begin(4, false)]).toEqual(["drop", "drop"]);
    limits.end("10.0.0.1");
    expect([begin(4), begin(5)]).toEqual(["take", "drop"]);
  });

  it("wants addresses proven while many handshakes are under way", () => {
    const limits = create({ retryHalfOpenCount: 2 });
    const begin = (host: number, isProven = false): string =>
      limits.begin(`10.0.0.${host}`, isProven, 0);
    expect([begin(1), begin(2), begin(3), begin(3, true)]).toEqual([
      "take",
      "take",
      "retry",
      "take",
    ]);
    limits.end("10.0.0.1");
    limits.end("10.0.0.2");
    expect(begin(4)).toBe("take");
    expect(create({ retryHalfOpenCount: 0 }).begin("10.0.0.1", false, 0)).toBe("retry");
  });

  it("leaves half of what one address may have under way to those who prove it", () => {
    const limits = create({ halfOpenPerAddressMax: 4 });
    const begin = (isProven: boolean): string => limits.begin("10.0.0.1", isProven, 0);
    expect([begin(false), begin(false), begin(false)]).toEqual(["take", "take", "retry"]);
    expect([begin(true), begin(true), begin(true)]).toEqual(["take", "take", "drop"]);
    expect(limits.begin("10.0.0.2", false, 0)).toBe("take");
    limits.end("10.0.0.1");
    expect(begin(true)).toBe("take");
  });

  it("leaves half of an address's rate to those who prove it, and fills up again", () => {
    const limits = create({ handshakesPerSecondMax: 2 });
    const begin = (isProven: boolean, now: number): string => {
      const decision = limits.begin("10.0.0.1", isProven, now);
      if (decision === "take") limits.end("10.0.0.1");
      return decision;
    };
    const decide = (isProven: boolean, now: number): string[] =>
      Array.from({ length: 3 }, () => begin(isProven, now));
    expect(decide(false, 0)).toEqual(["take", "take", "retry"]);
    expect(decide(true, 0)).toEqual(["take", "take", "drop"]);
    expect(decide(true, 499)).toEqual(["drop", "drop", "drop"]);
    expect(decide(true, 500)).toEqual(["take", "drop", "drop"]);
    expect(decide(false, 60_000)).toEqual(["take", "take", "retry"]);
  });

  it("lets a thousand children behind one NAT come at once, as their handshakes end", () => {
    const limits = new HandshakeLimits(DEFAULT_QUIC_LIMITS);
    for (let child = 0; child < 1000; child++) {
      const first = limits.begin("192.0.2.1", false, child / 10);
      if (first === "retry") expect(limits.begin("192.0.2.1", true, child / 10)).toBe("take");
      else expect(first).toBe("take");
      if (child >= 100) limits.end("192.0.2.1");
    }
  });
});
