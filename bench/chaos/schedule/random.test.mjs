import { describe, expect, it } from "vitest";
import { createRandom } from "./random.mjs";

function draw(start, name) {
  const random = createRandom(start, name);
  return Array.from({ length: 50 }, () => random.fraction());
}

describe("createRandom", () => {
  it("draws the same for the same start value and name, and something else for others", () => {
    expect(draw(1, "faults")).toEqual(draw(1, "faults"));
    expect(draw(1, "faults")).not.toEqual(draw(2, "faults"));
    expect(draw(1, "faults")).not.toEqual(draw(1, "files"));
  });

  it("draws what it drew when this test was written: a start value is good for years", () => {
    expect(draw(7, "faults").slice(0, 2)).toEqual([0.8175435199316592, 0.5498640408427844]);
  });

  it("stays within its bounds, and reaches them", () => {
    const random = createRandom(3, "bounds");
    const drawn = new Set(Array.from({ length: 500 }, () => random.integer(2, 5)));
    expect(drawn).toEqual(new Set([2, 3, 4, 5]));
    const weighted = new Set(
      Array.from({ length: 200 }, () =>
        random.weighted([
          ["never", 0],
          ["some", 1],
          ["others", 3],
        ]),
      ),
    );
    expect(weighted).toEqual(new Set(["some", "others"]));
    expect(random.sample([1, 2, 3], 9).toSorted((a, b) => a - b)).toEqual([1, 2, 3]);
  });
});
