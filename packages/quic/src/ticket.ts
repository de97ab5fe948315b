import { createHash, timingSafeEqual, X509Certificate } from "node:crypto";
import type { QuicTls } from "./quic.ts";

/**
 * A ticket as applications keep it:
 *
 *     offset  size  field
 *          0     1  layout, `LAYOUT`
 *          1     6  last moment of use, milliseconds since 1970, big-endian
 *          7    16  what it is good for, see `TicketScope`
 *         23     …  the binding's session: the TLS ticket and what the peer allowed
 *
 * Whoever holds it passes for the node it was issued to, also without that node's key: it stays in memory, is never
 * logged, and not used for long.
 */
const LAYOUT = 1;
const TIME_AT = 1;
const SCOPE_AT = 7;
const SESSION_AT = 23;

/**
 * From the handshake in which the peer showed its certificate, also over tickets got by a ticket: servers honour
 * them for days, but who was trusted an hour ago is asked again.
 */
export const TICKET_AGE_MAX_MS: number = 60 * 60 * 1000;

/** Far more than a session with a chain of certificates in it. */
const TICKET_LENGTH_MAX = 256 * 1024;

/**
 * A ticket skips the peer's certificate and the name in it, so it must not be used where another name, protocol or
 * authority is expected than when it was issued, nor under another certificate of ours.
 */
export interface TicketScope {
  readonly tls: QuicTls | "insecure";
  readonly alpn: string;
  readonly serverName: string;
}

/** @param expiresAt milliseconds since 1970 */
export function toTicket(session: Uint8Array, scope: TicketScope, expiresAt: number): Uint8Array {
  const ticket = Buffer.alloc(SESSION_AT + session.byteLength);
  ticket[0] = LAYOUT;
  ticket.writeUIntBE(expiresAt, TIME_AT, SCOPE_AT - TIME_AT);
  ticket.set(digestOf(scope), SCOPE_AT);
  ticket.set(session, SESSION_AT);
  return ticket;
}

/** What is in it; undefined unless it is a ticket for `scope` that may still be used. */
export function openTicket(
  ticket: Uint8Array,
  scope: TicketScope,
  now: number,
): { readonly session: Uint8Array; readonly expiresAt: number } | undefined {
  if (ticket.byteLength <= SESSION_AT || ticket.byteLength > TICKET_LENGTH_MAX) return undefined;
  const bytes = Buffer.from(ticket); // the caller's may change
  const expiresAt = bytes.readUIntBE(TIME_AT, SCOPE_AT - TIME_AT);
  if (bytes[0] !== LAYOUT || expiresAt <= now) return undefined;
  if (!timingSafeEqual(bytes.subarray(SCOPE_AT, SESSION_AT), digestOf(scope))) return undefined;
  return { session: bytes.subarray(SESSION_AT), expiresAt };
}

/**
 * When the first of these certificates (DER) runs out, in milliseconds since 1970: 0 for one that cannot be read,
 * infinity if there is none.
 */
export function validUntil(chain: readonly Uint8Array[]): number {
  try {
    const ends = chain.map((der) => Date.parse(new X509Certificate(der).validTo));
    return Math.min(...ends.map((end) => (Number.isNaN(end) ? 0 : end)));
  } catch {
    return 0;
  }
}

function digestOf({ tls, alpn, serverName }: TicketScope): Buffer {
  const trust = tls === "insecure" ? [] : [tls.caCert, tls.cert];
  return createHash("sha256")
    .update(JSON.stringify([alpn, serverName, ...trust]))
    .digest()
    .subarray(0, SESSION_AT - SCOPE_AT);
}
