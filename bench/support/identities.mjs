import { createIdentity } from "@damselfly/quinn";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { NODE_CERTIFICATE_NAME } from "@damselfly/transport";

/**
 * Who both ends of an open path are: `tls`, certificates of one authority, with which every connection is mutual TLS; and `quinn`, each
 * one's key and the name of the other's.
 *
 * @param serverNames - names of the server's certificate beside the common one
 */
export async function createIdentities({ serverIp, clientIp }, serverNames = []) {
  const authority = await createTestAuthority();
  const common = [NODE_CERTIFICATE_NAME];
  const [serverTls, clientTls] = await Promise.all([
    authority.issue({ ips: [serverIp], dnsNames: [...common, ...serverNames] }),
    authority.issue({ ips: [clientIp], dnsNames: common }),
  ]);
  const [serverKey, clientKey] = [createIdentity(), createIdentity()];
  return {
    server: { tls: serverTls, quinn: keysOf(serverKey, clientKey) },
    client: { tls: clientTls, quinn: keysOf(clientKey, serverKey) },
  };
}

function keysOf(own, other) {
  return { privateKey: own.privateKey, ownKey: own.peerKey, peerKey: other.peerKey };
}
