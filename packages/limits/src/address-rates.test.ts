import { describe, expect, it } from "vitest";
import { AddressRates } from "./address-rates.ts";

describe("AddressRates", () => {
  it("bounds each address for itself: a burst, then its rate", () => {
    const rates = new AddressRates(5);
    const take = (ip: string, now: number, count: number): number =>
      Array.from({ length: count }, () => rates.take(ip, now)).filter(Boolean).length;
    expect(rates.available("10.0.0.1", 0)).toBe(10);
    expect(take("10.0.0.1", 0, 100)).toBe(10);
    expect(take("::ffff:10.0.0.1", 0, 1)).toBe(0);
    expect(take("10.0.0.2", 0, 100)).toBe(10);
    expect(take("10.0.0.1", 1_000, 100)).toBe(5);
    expect(take("10.0.0.1", 60_000, 100)).toBe(10);
  });

  it("remembers a bounded count of addresses, the latest", () => {
    const rates = new AddressRates(1);
    const use = (ip: string): boolean => rates.take(ip, 0);
    expect([use("10.9.9.9"), use("10.9.9.9"), use("10.9.9.9")]).toEqual([true, true, false]);
    for (let host = 0; host < 4095; host++) use(`10.0.${host >> 8}.${host & 255}`);
    expect(use("10.9.9.9")).toBe(false);
    for (let host = 0; host < 4096; host++) use(`10.1.${host >> 8}.${host & 255}`);
    expect(use("10.9.9.9")).toBe(true);
  });
});
