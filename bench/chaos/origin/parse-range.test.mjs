import { describe, expect, it } from "vitest";
import { parseRange } from "./parse-range.mjs";
import { validatorsOf, versionOf } from "./validators.mjs";

describe("parseRange", () => {
  it.each([
    ["bytes=0-0", { from: 0, end: 1 }],
    ["bytes=4-100", { from: 4, end: 10 }],
    ["bytes=4-", { from: 4, end: 10 }],
    ["bytes=-3", { from: 7, end: 10 }],
    ["bytes=10-12", "unsatisfiable"],
    ["bytes=-", undefined],
    ["lines=1-2", undefined],
    [undefined, undefined],
  ])("reads %s of ten bytes", (header, range) => {
    expect(parseRange(header, 10)).toEqual(range);
  });
});

describe("versionOf", () => {
  it.each(["both", "etag", "last-modified"])(
    "tells what validatorsOf said, with %s",
    (validators) => {
      for (const version of [0, 1, 7]) {
        const header = validatorsOf({ name: "f", validators }, version);
        const told = { etag: header.etag ?? "", lastModified: header["last-modified"] ?? "" };
        expect(versionOf(told)).toBe(version);
      }
    },
  );

  it("does not know what nobody said", () => {
    expect(versionOf({ etag: "", lastModified: "" })).toBeUndefined();
  });
});
