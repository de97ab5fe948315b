import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createTestAuthority } from "../testing.ts";
import { parseCertificate } from "./parse-certificate.ts";

const authority = await createTestAuthority();
const { cert } = await authority.issue();
const { raw: own } = new X509Certificate(cert);
const { raw: other } = new X509Certificate(authority.caCert);

describe("parseCertificate", () => {
  it("reads what it is given, and the same bytes once", () => {
    const first = parseCertificate(own);
    expect(first.raw).toEqual(own);
    expect(parseCertificate(other).raw).toEqual(other);
    expect(parseCertificate(Uint8Array.from(own))).toBe(first);
  });

  it("takes a part of a buffer for what is in it", () => {
    const both = Buffer.concat([own, other]);
    expect(parseCertificate(both.subarray(own.byteLength)).raw).toEqual(other);
  });

  it("does not mind that the caller writes over the bytes", () => {
    const bytes = Buffer.from(own);
    const first = parseCertificate(bytes);
    bytes.fill(0);
    expect(() => parseCertificate(bytes)).toThrow();
    expect(parseCertificate(own)).toBe(first);
  });

  it("forgets those that were not asked for the longest", async () => {
    const first = parseCertificate(own);
    const { raw: kept } = new X509Certificate((await authority.issue()).cert);
    const second = parseCertificate(kept);
    // As many as are kept: in a DER what comes after its end is not read, but it is another text.
    for (let count = 0; count < 255; count += 1) {
      parseCertificate(kept);
      parseCertificate(Buffer.concat([other, Buffer.from([count])]));
    }
    expect(parseCertificate(kept)).toBe(second);
    expect(parseCertificate(own)).not.toBe(first);
  });
});
