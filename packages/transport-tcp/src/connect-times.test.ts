import { describe, expect, it } from "vitest";
import { ConnectTimes } from "./connect-times.ts";

describe("ConnectTimes", () => {
  it("keeps the least of each address", () => {
    const times = new ConnectTimes(() => 0);
    times.note("10.0.0.1", 3);
    times.note("10.0.0.1", 1);
    times.note("10.0.0.1", 2);
    times.note("10.0.0.2", 50);
    expect(times.least("10.0.0.1")).toBe(1);
    expect(times.least("10.0.0.2")).toBe(50);
    expect(times.least("10.0.0.3")).toBeUndefined();
  });

  it("believes none that is older than five minutes", () => {
    let now = 0;
    const times = new ConnectTimes(() => now);
    times.note("10.0.0.1", 1);
    now = 300_001;
    expect(times.least("10.0.0.1")).toBeUndefined();
    times.note("10.0.0.1", 40);
    expect(times.least("10.0.0.1")).toBe(40);
  });

  it("remembers a bounded number of addresses, the newest", () => {
    const times = new ConnectTimes(() => 0);
    for (let index = 0; index <= 10_000; index += 1) times.note(`address ${index}`, 1);
    expect(times.least("address 0")).toBeUndefined();
    expect(times.least("address 1")).toBe(1);
    expect(times.least("address 10000")).toBe(1);
  });
});
