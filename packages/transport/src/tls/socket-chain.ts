import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { CertificateChain } from "./peer-trust.ts";

/** More than any chain has; Node links the certificates that it was shown, and who shows them decides how many. */
const LENGTH_MAX = 10;

/** Has no leaf, so that no part of it passes for a chain. */
const UNREADABLE: CertificateChain = [new Uint8Array(0)];

/**
 * What the other end has shown, leaf first. Of a resumed session the server's side knows the leaf, the client's nothing:
 * who resumes has to remember. A chain that is too long cannot be read: those at its end might be the revoked ones.
 */
export function chainOf(socket: Pick<TLSSocket, "getPeerX509Certificate">): CertificateChain {
  const chain: Uint8Array[] = [];
  let certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
  while (certificate !== undefined) {
    if (chain.length === LENGTH_MAX) return UNREADABLE;
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
