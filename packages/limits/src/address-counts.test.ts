import { describe, expect, it } from "vitest";
import { AddressCounts } from "./address-counts.ts";

describe("AddressCounts", () => {
  it("says which bound one more would break: at the bound, beyond it and far beyond", () => {
    const counts = new AddressCounts({ countMax: 4, perAddressMax: 3 });
    for (let held = 0; held < 3; held += 1) {
      expect(counts.excess("10.0.0.1")).toBeUndefined();
      counts.add("10.0.0.1");
    }
    expect(counts.excess("10.0.0.1")).toBe("address");
    expect(counts.excess("10.0.0.2")).toBeUndefined();
    counts.add("10.0.0.2");
    expect(counts.excess("10.0.0.3")).toBe("all");
    for (let held = 0; held < 100; held += 1) counts.add("10.0.0.3");
    expect([counts.excess("10.0.0.3"), counts.excess("10.0.0.4")]).toEqual(["address", "all"]);
    expect(counts.count).toBe(104);
  });

  it("takes an IPv6 network for one address", () => {
    const counts = new AddressCounts({ countMax: 5, perAddressMax: 3 });
    for (let held = 0; held < 3; held += 1) counts.add("2001:db8::1");
    expect(counts.excess("2001:db8::ffff")).toBe("address");
    expect(counts.excess("2001:db8:0:1::1")).toBeUndefined();
  });

  it("has room again when something is given back, once, and forgets who holds nothing", () => {
    const counts = new AddressCounts({ countMax: 2, perAddressMax: 2 });
    const [first, second] = [counts.add("10.0.0.1"), counts.add("::ffff:10.0.0.1")];
    first();
    first();
    expect([counts.count, counts.excess("10.0.0.1")]).toEqual([1, undefined]);
    second();
    expect([counts.count, counts.addressCount]).toEqual([0, 0]);
  });
});
