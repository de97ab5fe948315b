import { describe, expect, it } from "vitest";
import { formatWait } from "./format-wait.ts";

describe("formatWait", () => {
  it.each([
    [
      {
        kind: "asked",
        waitMs: 30_400,
        reason: "Cannot read http://o/f?sig=…: origin answered 503 Busy, Retry-After: 30",
      },
      "waiting for the origin: it asked to come back in 30 s (origin answered 503 Busy, Retry-After: 30)",
    ],
    [
      {
        kind: "failed",
        waitMs: 1600,
        reason: "Cannot read http://o/f (redirected to http://c/f): connect ECONNREFUSED",
      },
      "waiting for the origin: it is asked again in 2 s (connect ECONNREFUSED)",
    ],
    [
      { kind: "silent", waitMs: 0, reason: "it has not answered for 5 s" },
      "waiting for the origin: it has not answered for 5 s",
    ],
  ] as const)("says what is waited for: %o", (wait, text) => {
    expect(formatWait({ ...wait, attempt: 1 })).toBe(text);
  });
});
