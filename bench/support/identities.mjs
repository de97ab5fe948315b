import { NODE_CERTIFICATE_NAME } from "@damselfly/rpc";
import { createTestAuthority } from "@damselfly/rpc/testing";

/**
 * Certificates of one authority for both ends of an open path: with them every connection is mutual TLS.
 *
 * @param serverNames - names of the server beside the common one
 */
export async function createIdentities({ serverIp, clientIp }, serverNames = []) {
  const authority = await createTestAuthority();
  const common = [NODE_CERTIFICATE_NAME];
  const [server, client] = await Promise.all([
    authority.issue({ ips: [serverIp], dnsNames: [...common, ...serverNames] }),
    authority.issue({ ips: [clientIp], dnsNames: common }),
  ]);
  return { server, client };
}
