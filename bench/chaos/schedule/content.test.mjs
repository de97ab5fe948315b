import { describe, expect, it } from "vitest";
import { createContent } from "./content.mjs";

const FILE = { start: 1, name: "f", version: 0, length: 3 * 2 ** 20 + 5 };

describe("createContent", () => {
  it("makes any part of a file as it makes the whole", () => {
    const content = createContent(FILE);
    const whole = Buffer.concat([...content.parts()]);
    expect(whole.byteLength).toBe(FILE.length);
    for (const [offset, end] of [
      [0, 1],
      [15, 17],
      [16, 16],
      [2 ** 20 - 1, 2 ** 20 + 40],
      [FILE.length - 1, FILE.length],
    ]) {
      expect(Buffer.concat([...content.parts(offset, end)])).toEqual(whole.subarray(offset, end));
    }
  });

  it("makes other bytes for another version, file or start value", () => {
    const first = createContent(FILE).bytes(0, 64);
    for (const change of [{ version: 1 }, { name: "g" }, { start: 2 }])
      expect(createContent({ ...FILE, ...change }).bytes(0, 64)).not.toEqual(first);
    expect(createContent({ ...FILE, length: 4 * 2 ** 20 }).bytes(0, 64)).toEqual(first);
  });
});
