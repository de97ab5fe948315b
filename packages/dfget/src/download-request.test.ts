import { describe, expect, it } from "vitest";

import { parseCertificates } from "./download-request.ts";

/** Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test`; the key was thrown away. */
const CERTIFICATE = `
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUDqFBB9PPCAdFVwAf3GIv6RrRkv8wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjEwMTIxNDFaGA8yMTI2MTAyODAxMjE0
MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABICK
WbJIhSdmJq2+7Qkce5bCgOEBD7mBpSKQInqstYctvWIIML5u9qLXMJOBv4w5OGdh
Mn47Ue43V0Jp3wbc2KajUzBRMB0GA1UdDgQWBBSnwzPSKr5CQntJuZ4dMrptuuYs
LDAfBgNVHSMEGDAWgBSnwzPSKr5CQntJuZ4dMrptuuYsLDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIFcZowP3A/bquwbaabbF9+k+opdB5ZXoRd76
h323hmO0AiEAnlyzPePfzErhY2DWrwhdFJAXBe30/2dg3JNtKR+5R68=
-----END CERTIFICATE-----
`;

describe("parseCertificates", () => {
  it("finds every certificate, whatever stands between them", () => {
    const [first, second, ...rest] = parseCertificates(
      `# a bundle${CERTIFICATE}# another${CERTIFICATE}`,
    );
    expect(rest).toEqual([]);
    expect(Buffer.from(first ?? []).equals(second ?? Buffer.alloc(0))).toBe(true);
    expect(CERTIFICATE.replaceAll("\n", "")).toContain(Buffer.from(first ?? []).toString("base64"));
  });

  it("says which certificate is broken", () => {
    const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    expect(() => parseCertificates(`${CERTIFICATE}${broken}`)).toThrow(
      "certificate 2 cannot be read",
    );
  });
});
