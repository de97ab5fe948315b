import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import type { TlsIdentity } from "@damselfly/transport";

/** What grpc says inside of TLS (RFC 9113, section 3.1). */
export const ALPN = "h2";

const VERSIONS = { minVersion: "TLSv1.2" } as const;

/**
 * Of a server. Sessions cannot be resumed: no client of ours does, and who is not resumed has to show a certificate each
 * time.
 */
export function serverContextOptions({ caCert, cert, key }: TlsIdentity): SecureContextOptions {
  const secureOptions = constants.SSL_OP_NO_TICKET;
  return { ca: caCert, cert, key, ...VERSIONS, secureOptions };
}

/** Of what dials: made once for each identity. */
export function clientContext(identity: TlsIdentity): SecureContext {
  let context = contexts.get(identity);
  if (context === undefined) {
    const { caCert, cert, key } = identity;
    context = createSecureContext({ ca: caCert, cert, key, ...VERSIONS });
    contexts.set(identity, context);
  }
  return context;
}

const contexts = new WeakMap<TlsIdentity, SecureContext>();
