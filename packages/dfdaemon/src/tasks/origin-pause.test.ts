import { describe, expect, it } from "vitest";
import type { OriginWait } from "../origins/origin.ts";
import { OriginPause } from "./origin-pause.ts";

const asked = (waitMs: number, reason = "origin answered 503, Retry-After: 5"): OriginWait => ({
  kind: "asked",
  waitMs,
  reason: `Cannot read http://o/f?sig=…: ${reason}`,
  attempt: 1,
});

describe("OriginPause", () => {
  it("is one wait for the eight parts of a file, until the first of them asks again", () => {
    const pause = new OriginPause();
    for (let part = 0; part < 8; part += 1) pause.add(asked(5_800 - 100 * part), 1_000 + part);
    expect(pause.at(2_000)).toEqual({
      reason: "origin-retry",
      description:
        "the origin has been left alone, as it asked (origin answered 503, Retry-After: 5)",
      sinceMs: 1_000,
      untilMs: 6_107,
    });
    expect(pause.at(6_107)).toBeUndefined();
  });

  it("is another one when it is because of something else, or comes again", () => {
    const pause = new OriginPause();
    pause.add(asked(5_000), 0);
    pause.add({ ...asked(9_000, "connect ECONNREFUSED"), kind: "failed" }, 1_000);
    expect(pause.at(2_000)).toMatchObject({
      description: "the origin has been left alone before it is asked again (connect ECONNREFUSED)",
      sinceMs: 1_000,
      untilMs: 10_000,
    });
    pause.add({ ...asked(9_000, "connect ECONNREFUSED"), kind: "failed" }, 20_000);
    expect(pause.at(20_000)).toMatchObject({ sinceMs: 20_000, untilMs: 29_000 });
  });

  it("leaves out what is over in a moment, and an origin that has been asked and says nothing", () => {
    const pause = new OriginPause();
    pause.add(asked(999), 0);
    pause.add({ kind: "silent", waitMs: 0, reason: "it has not answered for 5 s", attempt: 0 }, 0);
    expect(pause.at(0)).toBeUndefined();
    pause.add(asked(5_000), 0);
    pause.add({ kind: "silent", waitMs: 0, reason: "it has not answered for 5 s", attempt: 0 }, 1);
    expect(pause.at(1)).toMatchObject({ untilMs: 5_000 });
  });

  it("shows no more of what an origin says than people read", () => {
    const pause = new OriginPause();
    pause.add(asked(5_000, "x".repeat(100_000)), 0);
    expect(pause.at(0)?.description.length).toBeLessThan(400);
  });
});
