import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDigest, parseDigest } from "./digest.ts";

describe("parseDigest", () => {
  it("reads SHA-256, SHA-512 and a decimal CRC-32", () => {
    expect(parseDigest(`sha256:${"a".repeat(64)}`)).toEqual({
      algorithm: "sha256",
      encoded: "a".repeat(64),
    });
    expect(parseDigest(`sha512:${"0".repeat(128)}`).encoded).toHaveLength(128);
    expect(parseDigest("crc32:1475635037")).toEqual({ algorithm: "crc32", encoded: "1475635037" });
    expect(parseDigest("crc32:4294967295").encoded).toBe("4294967295");
  });

  it("returns hex in lower case and decimals without leading zeros", () => {
    expect(parseDigest(`sha256:${"AB".repeat(32)}`).encoded).toBe("ab".repeat(32));
    expect(parseDigest("crc32:0001").encoded).toBe("1");
  });

  it.each([
    "",
    "sha256",
    ":abc",
    "sha256:",
    `sha256:${"a".repeat(63)}`,
    `sha256:${"a".repeat(65)}`,
    `sha256:${"g".repeat(64)}`,
    `sha512:${"a".repeat(64)}`,
    `SHA256:${"a".repeat(64)}`,
    "md5:8a04994a666b4e4b20a2fd9e5a44f44c",
    "crc32:",
    "crc32:4294967296",
    "crc32:57f4675d",
    "crc32:-1",
    "crc32:1 ",
  ])("refuses '%s'", (text) => {
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: "ERR_REQUEST" }));
  });

  it("shows at most the beginning of a long text", () => {
    expect(() => parseDigest("x".repeat(10_000))).toThrow(/^.{1,300}$/);
  });

  it("reads back what formatDigest writes", () => {
    const hex = (length: number): fc.Arbitrary<string> =>
      fc.string({
        unit: fc.constantFrom("0", "1", "9", "a", "c", "f"),
        minLength: length,
        maxLength: length,
      });
    const digest = fc.oneof(
      fc.record({ algorithm: fc.constant("sha256" as const), encoded: hex(64) }),
      fc.record({ algorithm: fc.constant("sha512" as const), encoded: hex(128) }),
      fc.record({
        algorithm: fc.constant("crc32" as const),
        encoded: fc.nat({ max: 0xff_ff_ff_ff }).map(String),
      }),
    );
    fc.assert(
      fc.property(digest, (d) => {
        expect(parseDigest(formatDigest(d))).toEqual(d);
      }),
    );
  });
});
