import type { X509Certificate } from "node:crypto";

/** The object identifier of the key usage, 2.5.29.15, in DER. */
const KEY_USAGE = Buffer.from("0603551d0f", "hex");
const CRITICAL = Buffer.from("0101ff", "hex");
/** The first bit of a bit string (RFC 5280, section 4.2.1.3). */
const DIGITAL_SIGNATURE = 0x80;

/**
 * Whether a certificate's key may sign, as TLS 1.3 wants it; so where the certificate does not say what it may do. Node has
 * no word for this usage, so it is found by its form; for one's own certificates, which nobody has made up to mislead.
 */
export function maySign({ raw }: Pick<X509Certificate, "raw">): boolean {
  const at = raw.indexOf(KEY_USAGE);
  if (at < 0) return true;
  let next = at + KEY_USAGE.byteLength;
  if (raw.subarray(next).indexOf(CRITICAL) === 0) next += CRITICAL.byteLength;
  // An octet string with a bit string in it: 04 length 03 length unused bits.
  const bits = raw[next + 5] ?? 0;
  return (bits & DIGITAL_SIGNATURE) !== 0;
}
