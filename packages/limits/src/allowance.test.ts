import { describe, expect, it } from "vitest";
import { Allowance } from "./allowance.ts";

describe("Allowance", () => {
  it("grants what there is and not one more, and again what was given back", () => {
    const allowance = new Allowance(10);
    expect(allowance.take(10)).toBe(true);
    expect(allowance.take(1)).toBe(false);
    expect(allowance.take(1_000_000)).toBe(false);
    allowance.giveBack(4);
    expect(allowance.take(5)).toBe(false);
    expect(allowance.take(4)).toBe(true);
    expect(allowance.used).toBe(10);
  });
});
