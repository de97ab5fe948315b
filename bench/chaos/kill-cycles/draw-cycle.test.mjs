import { describe, expect, it } from "vitest";
import { drawCycle } from "./draw-cycle.mjs";

const nodes = ["seed", "peer-1"];
const draw = (start) =>
  Array.from({ length: 200 }, (_, number) => drawCycle({ start, number, nodes }));

describe("drawCycle", () => {
  it("draws the same for the same start value, and everything sooner or later", () => {
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    const cycles = draw(1);
    expect(new Set(cycles.map(({ kind }) => kind)).size).toBe(4);
    expect(new Set(cycles.map(({ victim }) => victim))).toEqual(new Set([...nodes, "scheduler"]));
    const wrong = cycles.filter(
      ({ kind, victim }) => (kind === "scheduler") !== (victim === "scheduler"),
    );
    expect(wrong).toEqual([]);
  });
});
