import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { parseDigest, parseDuration, parsePieceLength, parseRange } from "./parse-values.ts";

describe("parseDuration", () => {
  it("adds up its parts", () => {
    expect(parseDuration("1h30m")).toBe(5_400_000);
    expect(parseDuration("1d2h3m4s5ms")).toBe(93_784_005);
    expect(parseDuration("2 hours 30 min")).toBe(9_000_000);
    expect(parseDuration("1week 5secs")).toBe(604_805_000);
  });

  it.each(["", "5", "h", "-5s", "1.5h", "25d", "5 parsecs", "5s!"])("refuses '%s'", (text) => {
    expect(() => parseDuration(text)).toThrow(RangeError);
  });
});

describe("parsePieceLength", () => {
  it.each([
    ["4mib", 4_194_304],
    ["4 MiB", 4_194_304],
    ["4194304", 4_194_304],
    ["16Mi", 16_777_216],
    ["5mb", 5_000_000],
    ["4.5MiB", 4_718_592],
    ["0.5gib", 536_870_912],
  ])("reads '%s'", (text, length) => {
    expect(parsePieceLength(text)).toBe(length);
  });

  it.each(["", "4m", "4194303", "mib", "4 mibs", "-8mib", "99999999tib"])(
    "refuses '%s'",
    (text) => {
      expect(() => parsePieceLength(text)).toThrow(RangeError);
    },
  );
});

describe("parseRange", () => {
  it("reads every range that HTTP can say", () => {
    const position = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(position, position, (left, right) => {
        const [first, last] = [Math.min(left, right), Math.max(left, right)];
        fc.pre(last - first + 1 <= Number.MAX_SAFE_INTEGER);
        expect(parseRange(`${first}-${last}`)).toEqual({
          kind: "between",
          offset: first,
          length: last - first + 1,
        });
        expect(parseRange(`bytes=${first}-`)).toEqual({ kind: "from", offset: first });
      }),
    );
    expect(parseRange("-1")).toEqual({ kind: "last", length: 1 });
  });

  it.each(["", "-", "1", "a-b", "1-2,4-5", "-0", "2-1", "9007199254740992-", "bytes=-"])(
    "refuses '%s'",
    (text) => {
      expect(() => parseRange(text)).toThrow(RangeError);
    },
  );
});

describe("parseDigest", () => {
  it("compares hex without case and CRC-32 without leading zeros", () => {
    expect(parseDigest(`sha512:${"aF".repeat(64)}`)).toEqual({
      algorithm: "sha512",
      value: "af".repeat(64),
    });
    expect(parseDigest("crc32:0007")).toEqual({ algorithm: "crc32", value: "7" });
  });

  it.each([
    "",
    "sha256",
    "sha256:",
    `sha256:${"g".repeat(64)}`,
    "crc32:4294967296",
    "SHA256:",
    "crc32:",
  ])("refuses '%s'", (text) => {
    expect(() => parseDigest(text)).toThrow(RangeError);
  });
});
