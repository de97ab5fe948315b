import type { PeerCertificate } from "node:tls";
import { status } from "@damselfly/rpc";

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
    .map((name) => name.slice(DNS_PREFIX.length));
  const hostnames = names.filter(
    (name) => hostId.endsWith(`-${name}`) || hostId.endsWith(`-${name}-seed`),
  );
  if (hostnames.length > 0) return;
  throw status(
    "PERMISSION_DENIED",
    `Cannot serve host '${hostId}': its certificate names ${names.join(", ") || "no host"}`,
  );
}
