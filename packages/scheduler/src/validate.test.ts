import { describe, expect, it } from "vitest";
import { downloadFacts, hostFacts } from "./test-cluster.ts";
import { textLengthOf } from "./text-length.ts";
import { assertAnnouncement, assertDownload, assertId, assertVersion } from "./validate.ts";

const KIB = 1024;

describe("the texts of a message", () => {
  it("are as long as they may be, of a download", () => {
    const limit = 256 * KIB;
    const base = textLengthOf(downloadFacts({ requestHeader: { cookie: "" } }));
    const download = (length: number) =>
      downloadFacts({ requestHeader: { cookie: "x".repeat(length - base) } });
    expect(assertDownload(download(limit), limit).url).toBe("http://origin/file");
    for (const length of [limit + 1, 4 * limit]) {
      expect(() => assertDownload(download(length), limit)).toThrow(
        `download has ${length} bytes, limit is ${limit}`,
      );
    }
  });

  it("count where they stand in lists and in bytes, too", () => {
    const certificateChain = [new Uint8Array(10_000), new Uint8Array(10_000)];
    const filteredQueryParams = ["x".repeat(10_000)];
    const length =
      textLengthOf(downloadFacts({ certificateChain, filteredQueryParams })) -
      textLengthOf(downloadFacts());
    expect(length).toBe(30_000 + 3 * 16);
  });

  it("are as long as they may be, of a host", () => {
    const announce = (name: string) =>
      assertAnnouncement({ host: hostFacts("a", { name }), interval: null });
    const limit = 16 * KIB;
    const base = textLengthOf(hostFacts("a", { name: "" }));
    expect(announce("x".repeat(limit - base)).id).toBe("a");
    expect(() => announce("x".repeat(limit - base + 1))).toThrow("limit is 16384");
    expect(() => announce("x".repeat(1_000_000))).toThrow("limit is 16384");
  });

  it("are as long as they may be, of an id and of a version", () => {
    assertId("x".repeat(KIB), "host_id");
    assertVersion("x".repeat(KIB));
    for (const length of [KIB + 1, 1_000_000]) {
      expect(() => assertId("x".repeat(length), "host_id")).toThrow("limit is 1024");
      expect(() => assertVersion("x".repeat(length))).toThrow("limit is 1024");
    }
  });
});
