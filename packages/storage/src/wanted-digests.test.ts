import { describe, expect, it } from "vitest";

import { WantedDigests } from "./wanted-digests.ts";

const SHA256 = `sha256:${"a".repeat(64)}`;
const SHA512 = `sha512:${"b".repeat(128)}`;

describe("WantedDigests", () => {
  it("begins with the algorithm that the sender names, CRC-32 where nobody does", () => {
    expect(new WantedDigests({}, "crc32").algorithms).toEqual(["crc32"]);
    expect(new WantedDigests({ digest: "crc32:1" }, "crc32").algorithms).toEqual(["crc32"]);
    expect(new WantedDigests({ digest: SHA256 }, "crc32").algorithms).toEqual(["sha256"]);
  });

  it("adds what is asked for besides, and what is always kept, each once", () => {
    expect(new WantedDigests({}, "sha256").algorithms).toEqual(["crc32", "sha256"]);
    expect(new WantedDigests({ digest: SHA256 }, "sha256").algorithms).toEqual(["sha256"]);
    const draft = { digest: "crc32:1", digests: [SHA256, `md5:${"0".repeat(32)}`] };
    expect(new WantedDigests(draft, "sha256").algorithms).toEqual(["crc32", "sha256", "md5"]);
  });

  it("finds the one that is wrong, or missing, or of another algorithm", () => {
    const wanted = new WantedDigests({ digest: "crc32:1", digests: [SHA256] }, "crc32");
    expect(wanted.findWrong(["crc32:1", SHA256])).toBeUndefined();
    expect(wanted.findWrong(["crc32:2", SHA256])).toEqual({
      found: "crc32:2",
      expected: "crc32:1",
    });
    const other = `sha256:${"c".repeat(64)}`;
    expect(wanted.findWrong(["crc32:1", other])).toEqual({ found: other, expected: SHA256 });
    expect(wanted.findWrong(["crc32:1"])).toMatchObject({ found: "missing" });
    expect(wanted.findWrong([SHA256, "crc32:1"])).toMatchObject({ found: SHA256 });
  });

  it("finds two of one algorithm that cannot both be right", () => {
    const digests = [SHA256, `sha256:${"c".repeat(64)}`];
    const wanted = new WantedDigests({ digests }, "crc32");
    expect(wanted.findWrong(["crc32:1", SHA256])).toBeDefined();
  });

  it("keeps a strong one besides the first, unless that is strong", () => {
    const both = new WantedDigests({ digest: "crc32:1" }, "sha256");
    expect(both.toRecord(["crc32:1", SHA256])).toEqual({ digest: "crc32:1", strongDigest: SHA256 });
    const strong = new WantedDigests({ digest: SHA512 }, "sha256");
    expect(strong.toRecord([SHA512, SHA256])).toEqual({ digest: SHA512 });
    const weak = new WantedDigests({ digests: [`md5:${"0".repeat(32)}`] }, "crc32");
    expect(weak.toRecord(["crc32:1", `md5:${"0".repeat(32)}`])).toEqual({ digest: "crc32:1" });
  });

  it("refuses a digest that no content could have", () => {
    const refused = expect.objectContaining({ code: "ERR_DIGEST_MISMATCH" });
    expect(() => new WantedDigests({ digests: ["sha256:short"] }, "crc32")).toThrow(refused);
  });
});
