import { QuicError, type QuicErrorCode } from "./errors.ts";
import type { NativeConnection, NativeConnectionError } from "./binding.ts";
import type { QuicCloseReason } from "./quic.ts";

/** TLS alerts travel as transport error codes from here on (RFC 9001, section 4.8). */
export const TLS_ALERT_BASE: number = 0x100;
const TLS_ALERT_MAX = 0x1ff;

/** Alerts (RFC 8446, section 6) that are about a certificate, in words. */
const CERTIFICATE_ALERTS: Readonly<Record<number, string>> = {
  42: "bad certificate, or one that does not name the peer",
  43: "unsupported certificate",
  44: "certificate revoked",
  45: "certificate expired or not yet valid",
  46: "certificate not acceptable",
  48: "certificate of an unknown authority",
  49: "access denied",
  51: "a signature does not verify: another key, or another authority of the same name",
  112: "name not known to the peer",
  116: "certificate required",
};

const OTHER_ALERTS: Readonly<Record<number, string>> = {
  40: "handshake failure",
  70: "no TLS version in common",
  71: "security too low for the peer",
  80: "internal TLS error",
  120: "no application protocol in common",
};

/** Transport error codes (RFC 9000, section 20.1) in words. */
const TRANSPORT_CODES: Readonly<Record<number, string>> = {
  0x0: "no error",
  0x1: "internal error",
  0x2: "connection refused",
  0x3: "flow control violated",
  0x4: "too many streams",
  0x5: "wrong stream state",
  0x6: "stream's final size changed",
  0x7: "malformed frame",
  0x8: "wrong transport parameter",
  0xa: "protocol violation",
  0xb: "invalid token",
  0xc: "closed by the application during the handshake",
  0x10: "no usable path",
};

export const CONNECTION_REFUSED = 0x2;
export const CERTIFICATE_EXPIRED: number = TLS_ALERT_BASE + 45;

/** Why a connection is over, read from the binding once it is draining or closed. */
export function readCloseReason(native: NativeConnection): QuicCloseReason {
  const peer = native.peerError();
  if (peer !== null) return toReason("peer", peer);
  const local = native.localError();
  if (local !== null) return toReason("here", local);
  // Closed without a word, and not by silence: only a stateless reset does that.
  const by = native.isTimedOut() ? "idle-timeout" : native.isClosed() ? "reset" : "lost";
  return { by, isApplication: false, code: 0, text: "" };
}

function toReason(by: "here" | "peer", error: NativeConnectionError): QuicCloseReason {
  return {
    by,
    isApplication: error.isApp,
    code: error.errorCode,
    text: printable(new TextDecoder().decode(error.reason)),
  };
}

/** Text from a peer may end in logs: no control characters, no novels. */
function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, "?").slice(0, 256);
}

/** The error for whatever was going on when the connection ended: `what` is its first half, `Cannot read stream 4`. */
export function closeError(reason: QuicCloseReason, what: string): QuicError {
  return new QuicError(codeOf(reason), `${what}: ${describeCloseReason(reason)}`, {
    applicationCode: reason.isApplication ? reason.code : undefined,
  });
}

export function describeCloseReason(reason: QuicCloseReason): string {
  if (reason.by === "idle-timeout") return "nothing came from the peer until the idle timeout";
  if (reason.by === "reset") return "the peer knows nothing of the connection, as after a restart";
  if (reason.by === "lost") return "the connection is lost";
  const actor = reason.by === "peer" ? "the peer closed the connection" : "closed on this side";
  const text = reason.text === "" ? "" : `, "${reason.text}"`;
  if (reason.isApplication) return `${actor} with code ${reason.code}${text}`;
  return `${actor}: ${describeTransportCode(reason.code)}${text}`;
}

function describeTransportCode(code: number): string {
  const alert = tlsAlert(code);
  const words =
    alert === undefined
      ? TRANSPORT_CODES[code]
      : (CERTIFICATE_ALERTS[alert] ?? OTHER_ALERTS[alert] ?? "TLS failure");
  return `${words ?? "transport error"} (0x${code.toString(16)})`;
}

function codeOf(reason: QuicCloseReason): QuicErrorCode {
  if (reason.isApplication) return reason.by === "here" ? "ERR_CLOSED" : "ERR_CONNECTION_LOST";
  const alert = tlsAlert(reason.code);
  if (alert !== undefined) return alert in CERTIFICATE_ALERTS ? "ERR_UNTRUSTED" : "ERR_TLS";
  return reason.by === "peer" && reason.code === CONNECTION_REFUSED
    ? "ERR_REFUSED"
    : "ERR_CONNECTION_LOST";
}

function tlsAlert(code: number): number | undefined {
  return code >= TLS_ALERT_BASE && code <= TLS_ALERT_MAX ? code - TLS_ALERT_BASE : undefined;
}
