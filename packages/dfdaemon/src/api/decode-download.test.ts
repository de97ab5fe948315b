import type { Download__Output } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { downloadMessage as message } from "../testing/download-message.ts";
import { createTestAuthority } from "../testing/test-certificates.ts";
import { decodeDownload } from "./decode-download.ts";

const LOCAL = { outputAllowed: true };

describe("decodeDownload", () => {
  it("takes a user named in the URL for what it is: credentials", () => {
    const plain = decodeDownload(message({ url: "http://me:p%40ss@origin.test/file" }), LOCAL);
    expect(plain.origin.url).toBe("http://origin.test/file");
    expect(plain.origin.header["authorization"]).toBe(
      `Basic ${Buffer.from("me:p@ss").toString("base64")}`,
    );
    const both = message({
      url: "http://me:x@origin.test/file",
      requestHeader: { Authorization: "Bearer t" },
    });
    expect(decodeDownload(both, LOCAL).origin.header).toEqual({ Authorization: "Bearer t" });
  });

  it("reads a range from its field, or from a Range header, which does not go to the origin", () => {
    const field = decodeDownload(message({ range: { start: 10, length: 5 } }), LOCAL);
    expect(field.range?.(100)).toEqual({ offset: 10, length: 5 });
    const header = decodeDownload(
      message({ requestHeader: { Range: "bytes=-5", "X-Other": "1" } }),
      LOCAL,
    );
    expect(header.range?.(100)).toEqual({ offset: 95, length: 5 });
    expect(header.origin.header).toEqual({ "X-Other": "1" });
    expect(decodeDownload(message({}), LOCAL).range).toBeUndefined();
  });

  it("takes certificates as PEM and as DER", () => {
    const { caCert } = createTestAuthority();
    const der = Buffer.from(caCert.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
    const fromDer = decodeDownload(message({ certificateChain: [der] }), LOCAL).origin.caCert;
    const fromPem = decodeDownload(message({ certificateChain: [Buffer.from(caCert)] }), LOCAL)
      .origin.caCert;
    expect(fromDer?.trim()).toBe(fromPem?.trim());
    const garbage = message({ certificateChain: [Buffer.from("garbage")] });
    expect(() => decodeDownload(garbage, LOCAL)).toThrow(
      expect.objectContaining({ code: "ERR_REQUEST" }),
    );
  });

  it("passes on what our own extension asks", () => {
    const asked = message({ extension: { insecureSkipVerify: true, revalidate: true } });
    expect(decodeDownload(asked, LOCAL)).toMatchObject({
      origin: { insecure: true },
      revalidate: true,
    });
    expect(decodeDownload(message({}), LOCAL)).toMatchObject({ revalidate: false });
    expect(decodeDownload(message({}), LOCAL).origin).not.toHaveProperty("insecure");
  });

  it.each<[string, Partial<Download__Output>, string]>([
    ["no URL", { url: "not a url" }, "is not a URL"],
    ["another scheme", { url: "ftp://origin.test/file" }, "expected http or https"],
    ["too small a piece length", { pieceLength: 1024 }, "expected 4194304 to 67108864"],
    ["too large a piece length", { pieceLength: 2 ** 27 }, "expected 4194304 to 67108864"],
    ["a relative output path", { outputPath: "out/file" }, "expected an absolute one"],
    ["a digest that is none", { digest: "sha256:12" }, "sha256"],
    ["an origin of another kind", { hdfs: {} }, "only http and https"],
  ])("refuses %s", (_, fields, reason) => {
    expect(() => decodeDownload(message(fields), LOCAL)).toThrow(reason);
  });

  it("refuses a request without a download, and output files for clients on the network", () => {
    expect(() => decodeDownload(null, LOCAL)).toThrow("no download");
    const request = message({ outputPath: "/tmp/out" });
    expect(() => decodeDownload(request, { outputAllowed: false })).toThrow("unix socket");
  });
});
