import { describe, expect, it } from "vitest";

import { nearestFlag } from "./nearest-flag.ts";

describe("nearestFlag", () => {
  const known = ["overwrite", "output", "timeout", "tag"];

  it.each([
    ["overwirte", "overwrite"],
    ["over-write", "overwrite"],
    ["Output", "output"],
    ["time-out", "timeout"],
    ["tga", "tag"],
  ])("takes '%s' for '%s'", (name, meant) => {
    expect(nearestFlag(name, known)).toBe(meant);
  });

  it("suggests nothing for what is far from everything", () => {
    expect(nearestFlag("frobnicate", known)).toBeUndefined();
  });
});
