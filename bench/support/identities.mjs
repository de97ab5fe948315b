import { createTestAuthority } from "@damselfly/rpc/testing";

/** Certificates of one authority for both ends of an open path: with them every connection is mutual TLS. */
export async function createIdentities({ serverIp, clientIp }) {
  const authority = await createTestAuthority();
  const [server, client] = await Promise.all(
    [serverIp, clientIp].map((ip) => authority.issue({ ips: [ip] })),
  );
  return { server, client };
}
