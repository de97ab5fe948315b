import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReportQueue } from "./report-queue.ts";

describe("ReportQueue", () => {
  it("is an array of which the oldest goes first, or the oldest that is dispensable", () => {
    const step = fc.oneof(fc.nat(9), fc.constantFrom("shift", "drop", "clear"));
    const isDispensable = (report: number): boolean => report < 5;
    fc.assert(
      fc.property(fc.array(step, { size: "large" }), (steps) => {
        const queue = new ReportQueue<number>();
        const model: number[] = [];
        for (const each of steps) {
          if (typeof each === "number") {
            queue.push(each);
            model.push(each);
          } else if (each === "shift") {
            expect(queue.shift()).toBe(model.shift());
          } else if (each === "drop") {
            queue.dropOldest(isDispensable);
            model.splice(Math.max(model.findIndex(isDispensable), 0), 1);
          } else {
            queue.clear();
            model.length = 0;
          }
          expect(queue.length).toBe(model.length);
        }
        while (queue.length > 0) expect(queue.shift()).toBe(model.shift());
      }),
    );
  });
});
