import { describe, expect, it } from "vitest";
import { mutate } from "./mutate.ts";
import { Random } from "./random.ts";

const options = {
  other: Buffer.from("another one"),
  dictionary: [Buffer.from("TOKEN")],
  lengthMax: 32,
};

describe("mutate", () => {
  it("makes the same of an input with the same start value, and leaves the input as it is", () => {
    for (let number = 0; number < 500; number++) {
      const input = Buffer.from("an input, 123");
      const first = mutate(input, new Random(7, number), options);
      expect(input.toString()).toBe("an input, 123");
      expect(mutate(input, new Random(7, number), options)).toEqual(first);
      expect(first.byteLength).toBeLessThanOrEqual(options.lengthMax);
    }
  });

  it("makes many different ones, of nothing too", () => {
    for (const text of ["", "x", "an input, 123"]) {
      const seen = new Set<string>();
      for (let number = 0; number < 1_000; number++) {
        const mutated = mutate(Buffer.from(text), new Random(1, number), options);
        seen.add(Buffer.from(mutated).toString("hex"));
      }
      expect(seen.size).toBeGreaterThan(100);
    }
  });
});
