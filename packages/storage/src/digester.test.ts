import { createHash } from "node:crypto";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createDigester, parseDigest } from "./digester.ts";

describe("createDigester", () => {
  it("writes CRC-32 in decimal, as Dragonfly does", () => {
    const digester = createDigester("crc32");
    digester.update(Buffer.from("test content"));
    expect(digester.text()).toBe("crc32:1475635037");
  });

  it.each(["md5", "sha1", "sha256", "sha512"])("computes %s in hex", (algorithm) => {
    const digester = createDigester(algorithm);
    digester.update(Buffer.from("test "));
    digester.update(Buffer.from("content"));
    const expected = createHash(algorithm).update("test content").digest("hex");
    expect(digester.text()).toBe(`${algorithm}:${expected}`);
  });

  it("says the same however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.nat(), (bytes, cut) => {
        const whole = createDigester("crc32");
        whole.update(bytes);
        const parts = createDigester("crc32");
        parts.update(bytes.subarray(0, cut));
        parts.update(bytes.subarray(cut));
        expect(parts.text()).toBe(whole.text());
      }),
    );
  });

  it("refuses an algorithm it does not know", () => {
    expect(() => createDigester("blake3")).toThrow(/algorithm is "blake3"/);
  });
});

describe("createDigester, fed nothing in between", () => {
  it.each(["crc32", "md5", "sha256"])("goes on with %s as if nothing had been fed", (algorithm) => {
    const digester = createDigester(algorithm);
    const plain = createDigester(algorithm);
    for (const part of ["test ", "", "content"]) {
      // An empty array without memory of its own, as parsers hand them on: Node's crc32 trips over it.
      digester.update(part === "" ? new Uint8Array(new ArrayBuffer(0)) : Buffer.from(part));
      if (part !== "") plain.update(Buffer.from(part));
    }
    expect(digester.text()).toBe(plain.text());
  });
});

describe("parseDigest", () => {
  it("brings hex to lower case and decimals to their shortest form", () => {
    const hex = "AB".repeat(16);
    expect(parseDigest(`md5:${hex}`)).toEqual({
      algorithm: "md5",
      text: `md5:${hex.toLowerCase()}`,
    });
    expect(parseDigest("crc32:0000000017").text).toBe("crc32:17");
  });

  it.each([
    "",
    "crc32:",
    "crc32:12345678ab",
    "sha256:abc",
    `md5:${"g".repeat(32)}`,
    "constructor:1",
  ])("refuses %j", (text) => {
    expect(() => parseDigest(text)).toThrow(
      expect.objectContaining({ code: "ERR_DIGEST_MISMATCH" }),
    );
  });
});
