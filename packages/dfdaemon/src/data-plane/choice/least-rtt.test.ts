import { describe, expect, it } from "vitest";
import { LeastRtt } from "./least-rtt.ts";

describe("LeastRtt", () => {
  it("is the least of late, and forgets a route that is gone within two windows", () => {
    let now = 0;
    const rtt = new LeastRtt(() => now);
    expect(rtt.ms).toBeUndefined();
    rtt.note(5);
    rtt.note(2);
    rtt.note(9);
    expect(rtt.ms).toBe(2);
    now = 301_000;
    rtt.note(40);
    expect(rtt.ms).toBe(2);
    now = 610_000;
    rtt.note(41);
    expect(rtt.ms).toBe(40);
    now = 2_000_000;
    rtt.note(60);
    expect(rtt.ms).toBe(60);
  });
});
