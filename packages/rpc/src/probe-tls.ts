import {
  chainOf,
  namesOf,
  NODE_CERTIFICATE_NAME,
  type TlsIdentity,
  trustOf,
} from "@damselfly/transport";
import { connect as connectTcp } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { ALPN, clientContext } from "./tls.ts";

/** What somebody who listens there says to a TLS ClientHello. */
export type TlsProbe =
  /** Has shown a certificate from our authority that names the host meant. */
  | { readonly kind: "trusted" }
  /** Speaks TLS, but shows no such certificate, or wants none of ours. */
  | { readonly kind: "untrusted"; readonly error: Error }
  /** Speaks something else, or hangs up at the sight of TLS. */
  | { readonly kind: "plain" }
  /** Has accepted the connection and says nothing, or none could be had. */
  | { readonly kind: "unknown"; readonly error: Error };

/**
 * Begins a TLS connection to see what comes back, and gives it up again. Never rejects.
 *
 * A plain HTTP/2 server gives itself away at once: tonic's and Node's send their settings before they have read anything,
 * Go's hangs up at the first bytes that are not HTTP/2.
 *
 * @param options.timeoutMs for all of it, the TCP handshake included
 */
export async function probeTls(
  server: { readonly ip: string; readonly port: number; readonly expectedHostname?: string },
  options: { readonly tls: TlsIdentity; readonly timeoutMs: number },
): Promise<TlsProbe> {
  const tcp = connectTcp({ host: server.ip, port: server.port, noDelay: true });
  let isConnected = false;
  tcp.once("connect", () => {
    isConnected = true;
  });
  const socket = connect({
    socket: tcp,
    servername: NODE_CERTIFICATE_NAME,
    secureContext: clientContext(options.tls),
    ALPNProtocols: [ALPN],
    // Looked at below: who shows a bad certificate does speak TLS.
    rejectUnauthorized: false,
  });
  try {
    return await new Promise<TlsProbe>((resolve) => {
      const timer = setTimeout(() => {
        const error = new Error(`no answer to TLS within ${options.timeoutMs} ms`);
        resolve({ kind: "unknown", error });
      }, options.timeoutMs);
      socket.once("secureConnect", () => resolve(judge(socket, server, options.tls)));
      socket.once("error", (error: Error) => {
        if (!isConnected) resolve({ kind: "unknown", error });
        else resolve(isAlert(error) ? { kind: "untrusted", error } : { kind: "plain" });
      });
      socket.once("close", () => {
        clearTimeout(timer);
        resolve({ kind: "plain" });
      });
    });
  } finally {
    socket.on("error", () => {}); // it is given up, whatever becomes of it
    tcp.on("error", () => {});
    socket.destroy();
    tcp.destroy();
  }
}

function judge(
  socket: TLSSocket,
  server: { readonly ip: string; readonly expectedHostname?: string },
  tls: TlsIdentity,
): TlsProbe {
  if (!socket.authorized) return { kind: "untrusted", error: toError(socket.authorizationError) };
  const { ip, expectedHostname: hostname } = server;
  const refusal = trustOf(tls).refusalOf(chainOf(socket), {
    isDialled: true,
    names: namesOf({ ip, hostname }),
    nowMs: Date.now(),
  });
  if (refusal === undefined) return { kind: "trusted" };
  return { kind: "untrusted", error: new Error(`Cannot trust ${ip}: ${refusal.reason}`) };
}

/** Whether the other end said in TLS's own words that it will not go on. */
function isAlert(error: Error): boolean {
  return "code" in error && typeof error.code === "string" && error.code.includes("ALERT");
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
