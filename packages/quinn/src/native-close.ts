import type { QuicCloseReason } from "@damselfly/quic";

/** TLS alerts travel as transport error codes from here on (RFC 9001, section 4.8). */
const TLS_ALERT_BASE = 0x100;
const INTERNAL_ERROR = 0x1;

/**
 * Why a connection is over, from the text that the native layer's calls reject with: quinn-proto 0.11,
 * `ConnectionError`, is all it tells.
 */
export function readNativeClose(text: string): QuicCloseReason {
  if (text === "closed" || text === "endpoint stopping") return reason("here", true, 0);
  if (text === "timed out") return reason("idle-timeout", false, 0);
  if (text.startsWith("closed by peer")) return reason("peer", true, 0);
  if (text.startsWith("aborted by peer: ")) {
    const alert = /handshake failed: error (\d+)/.exec(text)?.[1];
    if (alert !== undefined) return reason("peer", false, TLS_ALERT_BASE + Number(alert), text);
    // "The server refused to accept a new connection" too: it does so only once it is closed, so it is no peer that
    // is busy, but one that is gone. Limits are told by the control stream.
    return reason("peer", false, INTERNAL_ERROR, text);
  }
  return reason("lost", false, 0, text);
}

function reason(
  by: QuicCloseReason["by"],
  isApplication: boolean,
  code: number,
  text = "",
): QuicCloseReason {
  return { by, isApplication, code, text: text.replaceAll(/\p{C}/gu, "?").slice(0, 256) };
}
