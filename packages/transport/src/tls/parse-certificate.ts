import { X509Certificate } from "node:crypto";

/** A cluster's nodes show the same ones again and again. */
const KEPT_MAX = 256;
/** What is longer is not kept. Bytes. */
const KEPT_LENGTH_MAX = 8_192;

/** By their DER, the one that was not asked for the longest first. */
const kept = new Map<string, X509Certificate>();

/**
 * A certificate from its DER, which stays the caller's. Reading one costs a tenth of a millisecond, and each is looked at several times a
 * connection: those of late are remembered.
 *
 * @throws {Error} OpenSSL's, for what is none
 */
export function parseCertificate(der: Uint8Array): X509Certificate {
  if (der.byteLength > KEPT_LENGTH_MAX) return new X509Certificate(der);
  const key = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("latin1");
  const certificate = kept.get(key) ?? new X509Certificate(der);
  kept.delete(key);
  kept.set(key, certificate);
  const [oldest] = kept.keys();
  if (kept.size > KEPT_MAX && oldest !== undefined) kept.delete(oldest);
  return certificate;
}
