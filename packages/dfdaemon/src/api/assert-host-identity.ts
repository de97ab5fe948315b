import type { PeerCertificate } from "node:tls";
import { status } from "@damselfly/rpc";
import { NODE_CERTIFICATE_NAME } from "@damselfly/transport";

/** What the names of a certificate are called in `subjectaltname`. */
const DNS_PREFIX = "DNS:";

/**
 * Binds a peer to the host id it announces: `{ip}-{hostname}`, with `-seed` behind it for a seed, where its certificate names the hostname.
 * Without TLS there is nothing to check.
 *
 * @throws {RpcError} `PERMISSION_DENIED`
 */
export function assertHostIdentity(hostId: string, certificate: PeerCertificate | undefined): void {
  if (certificate === undefined) return;
  const names = (certificate.subjectaltname ?? "")
    .split(", ")
    .filter((name) => name.startsWith(DNS_PREFIX))
    .map((name) => name.slice(DNS_PREFIX.length))
    // Stands in every node's certificate.
    .filter((name) => name !== NODE_CERTIFICATE_NAME);
  // There is no dash in an address. The end alone would let "two" speak for "number-two".
  const hostname = hostId.slice(hostId.indexOf("-") + 1);
  if (names.some((name) => hostId.includes("-") && isNamed(hostname, name))) return;
  throw status(
    "PERMISSION_DENIED",
    `Cannot serve host '${hostId}': its certificate names ${names.join(", ") || "no host"}`,
  );
}

function isNamed(hostname: string, name: string): boolean {
  return hostname === name || hostname === `${name}-seed`;
}

/**
 * Keeps out whoever shows no certificate where everybody must.
 *
 * @throws {RpcError} `PERMISSION_DENIED`
 */
export function assertCertified(hostId: string, certificate: PeerCertificate | undefined): void {
  if (certificate !== undefined) return;
  throw status(
    "PERMISSION_DENIED",
    `Cannot serve host '${hostId}': it shows no certificate, and security.plainPeers is false here`,
  );
}
