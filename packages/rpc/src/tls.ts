import type { TlsIdentity } from "@damselfly/transport";
import { credentials, ServerCredentials, type ChannelCredentials } from "@grpc/grpc-js";
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
} from "node:tls";

/** The name that every node certificate carries, whatever the node's own. */
export const NODE_CERTIFICATE_NAME = "d7y";

/**
 * Credentials of a channel to `ip`: mutual TLS 1.3, at least 1.2.
 *
 * The server's certificate must come from our authority. With `expectedHostname` it must name that host; without, the
 * IP dialled or `d7y`, the name that every node carries.
 */
export function createChannelCredentials(
  tls: TlsIdentity,
  server: { readonly ip: string; readonly expectedHostname?: string },
): ChannelCredentials {
  return credentials.createFromSecureContext(createNodeContext(tls), {
    checkServerIdentity: (_, certificate) => checkNodeIdentity(certificate, server),
  });
}

/** The other end: a client without a certificate from our authority is refused in the handshake. */
export function createServerCredentials(tls: TlsIdentity): ServerCredentials {
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(Buffer.from(tls.caCert), [pair], true);
}

/** @returns the reason why this is not the node that was meant, undefined if it is */
export function checkNodeIdentity(
  certificate: PeerCertificate,
  server: { readonly ip: string; readonly expectedHostname?: string },
): Error | undefined {
  const { ip, expectedHostname } = server;
  const altNames = certificate.subjectaltname ?? "";
  const wanted = expectedHostname === undefined ? [ip, NODE_CERTIFICATE_NAME] : [expectedHostname];
  // Without alternative names Node would look at the common name, which says nothing here.
  const isNode = altNames !== "" && wanted.some((name) => !checkServerIdentity(name, certificate));
  if (isNode) return undefined;
  return new Error(
    `Cannot trust ${ip}: its certificate names ${altNames || "nothing"}, expected ${wanted.join(" or ")}`,
  );
}

export function createNodeContext({ caCert, cert, key }: TlsIdentity): SecureContext {
  return createSecureContext({ ca: caCert, cert, key, minVersion: "TLSv1.2" });
}
