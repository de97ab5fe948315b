import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** A certificate and its key as PEM texts. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Makes a throw-away P-256 certificate that vouches for nobody: QUIC has no unencrypted form, so an endpoint that
 * verifies nothing still has to show one. Subject and issuer are `CN=<name>`; it is valid for a year.
 *
 * Layout: RFC 5280, section 4.1.
 */
export function createSelfSigned(name = "insecure"): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = sequence(set(sequence(OID_COMMON_NAME, der(0x0c, Buffer.from(name)))));
  const now = Date.now();
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))), // version 3
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(15)])), // serial number, positive
    ECDSA_WITH_SHA256,
    subject,
    sequence(time(now - DAY_MS), time(now + 365 * DAY_MS)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
  );
  const signature = sign("sha256", body, privateKey);
  const certificate = sequence(
    body,
    ECDSA_WITH_SHA256,
    der(0x03, Buffer.concat([Buffer.of(0), signature])), // a bit string without unused bits
  );
  return {
    cert: toPem(certificate),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** One DER value: tag, length, content (ITU-T X.690, section 8.1). */
function der(tag: number, content: Uint8Array): Buffer {
  const { byteLength } = content;
  const length =
    byteLength < 0x80
      ? Buffer.of(byteLength)
      : byteLength < 0x100
        ? Buffer.of(0x81, byteLength)
        : Buffer.of(0x82, byteLength >> 8, byteLength & 0xff);
  return Buffer.concat([Buffer.of(tag), length, content]);
}

function sequence(...parts: Uint8Array[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function set(...parts: Uint8Array[]): Buffer {
  return der(0x31, Buffer.concat(parts));
}

/** `YYYYMMDDHHMMSSZ` */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/\D/g, "").slice(0, 14);
  // Two digits for the year until 2049, four from then on (RFC 5280, section 4.1.2.5).
  return digits < "2050"
    ? der(0x17, Buffer.from(`${digits.slice(2)}Z`))
    : der(0x18, Buffer.from(`${digits}Z`));
}

function toPem(certificate: Buffer): string {
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** 2.5.4.3 */
const OID_COMMON_NAME = Buffer.from("0603550403", "hex");
/** 1.2.840.10045.4.3.2 */
const ECDSA_WITH_SHA256 = Buffer.from("300a06082a8648ce3d040302", "hex");
