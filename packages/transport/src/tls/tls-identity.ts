/**
 * Who a node is and whom it trusts: with it every connection is TLS with both sides checked. Plain data, so that it can be
 * sent to another process; a secret because of `key`.
 */
export interface TlsIdentity {
  /** The certificate authorities to trust, one or several concatenated, PEM. */
  readonly caCert: string;
  /** This node's certificate chain, leaf first, PEM. */
  readonly cert: string;
  /** The leaf's private key, PEM. */
  readonly key: string;
  /**
   * Serial numbers of certificates that are not trusted though an authority vouches for them, in hex; absent: none. It is
   * the number that counts and not the fingerprint, because an authority signs it: a signature can be rewritten (ECDSA's
   * s as n - s), so that a certificate stays good under another fingerprint.
   */
  readonly revoked?: readonly string[] | undefined;
}

/** The name that every node's certificate carries, whatever the node's own: it says that the certificate is a node's. */
export const NODE_CERTIFICATE_NAME = "d7y";

/** A serial number as it is compared: hex digits in upper case, without colons and without zeros in front. */
export function formatSerial(serial: string): string {
  return serial
    .replaceAll(":", "")
    .toUpperCase()
    .replace(/^0+(?=.)/, "");
}

/** Whether they differ in more than who is revoked: connections made under the one are not to be used for long under the other. */
export function isOtherIdentity(one: TlsIdentity, other: TlsIdentity): boolean {
  return one.caCert !== other.caCert || one.cert !== other.cert || one.key !== other.key;
}
