import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import type { TlsIdentity } from "@damselfly/transport";
import { TcpError } from "./errors.ts";

/** Names the protocol in the TLS handshake (RFC 7301), its version included: other versions do not connect. */
export const ALPN = "d7y-vortex/1";

/** TLS 1.3 only, both sides checked; AES-128 first, which is the fastest where the processor knows AES. */
export function secureOptions({ caCert, cert, key }: TlsIdentity): SecureContextOptions {
  return {
    ca: caCert,
    cert,
    key,
    minVersion: "TLSv1.3",
    ciphers: "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384",
  };
}

/** @throws {TcpError} `ERR_TLS_CONFIG` */
export function openSecureContext(tls: TlsIdentity): SecureContext {
  try {
    return createSecureContext(secureOptions(tls));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TcpError("ERR_TLS_CONFIG", `Cannot use certificate and key: ${reason}`, { cause });
  }
}
