import { describe, expect, it } from "vitest";
import { parseSize, size } from "./size.ts";

describe("parseSize", () => {
  it.each([
    ["0", 0],
    ["4096", 4096],
    ["4096B", 4096],
    ["50GB", 50e9],
    ["10g", 10e9],
    ["64MiB", 64 * 2 ** 20],
    ["4mib", 4 * 2 ** 20],
    ["1.5 KiB", 1536],
    ["1TiB", 2 ** 40],
    ["2PB", 2e15],
    ["3  MB", 3e6],
    ["1.0001KiB", 1024],
    ["0.3B", 0],
  ])("reads %j as %d bytes", (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each(["", "GB", "-1", "1XB", "1.5", "1e9", "9007199254740993", "99999PiB", "1ib", "4 096"])(
    "refuses %j",
    (text) => expect(parseSize(text)).toBeUndefined(),
  );
});

describe("size", () => {
  it("takes bytes as a number too", () => {
    expect(size().parse(2_097_152)).toBe(2_097_152);
    expect(size().safeParse(1.5).success).toBe(false);
    expect(size().safeParse(-1).success).toBe(false);
  });

  it("names its bounds", () => {
    const bounded = size({ min: 4, max: 8 });
    expect(bounded.parse("8B")).toBe(8);
    for (const value of [3, "9", 2 ** 60])
      expect(bounded.safeParse(value).error?.issues[0]?.message).toBe(
        "a size such as 4096, 64MiB or 50GB, at least 4 bytes, at most 8 bytes",
      );
  });
});
