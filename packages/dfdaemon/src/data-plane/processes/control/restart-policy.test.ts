import { describe, expect, it } from "vitest";
import { RestartPolicy } from "./restart-policy.ts";

const MINUTE_MS = 60_000;

describe("RestartPolicy", () => {
  it("restarts at once the first two times, then later and later, up to 15 s", () => {
    const policy = new RestartPolicy();
    const pauses = Array.from({ length: 12 }, (_, index) => policy.ended(index * 1000).pauseMs);
    expect(pauses.slice(0, 6)).toEqual([0, 0, 250, 500, 1000, 2000]);
    expect(pauses.at(-1)).toBe(15_000);
  });

  it("forgives ends that are long past", () => {
    const policy = new RestartPolicy();
    for (let minute = 0; minute < 100; minute += 6)
      expect(policy.ended(minute * MINUTE_MS)).toMatchObject({ pauseMs: 0 });
  });
});
