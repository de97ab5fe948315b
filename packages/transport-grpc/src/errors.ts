import type { RpcError } from "@damselfly/rpc";
import { TransportError, type TransportErrorCode } from "@damselfly/transport";

/** How far a download had come: what a broken connection means depends on it. */
export type Phase = "announcement" | "content";

/** What an ended call means for the piece. `action` is the first half of the message. */
export function toTransportError(error: RpcError, phase: Phase, action: string): TransportError {
  const code = transportErrorCode(error, phase);
  return new TransportError(code, `${action}: ${error.reason || error.code}`, { cause: error });
}

function transportErrorCode(error: RpcError, phase: Phase): TransportErrorCode {
  const isContent = phase === "content";
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- most statuses make no sense here
  switch (error.code) {
    case "NOT_FOUND":
      return "ERR_PIECE_NOT_FOUND";
    case "RESOURCE_EXHAUSTED": // within the content it is our own limit on a message's length
      return isContent ? "ERR_PROTOCOL" : "ERR_PARENT_BUSY";
    case "DATA_LOSS":
    case "INTERNAL":
      return "ERR_PARENT_FAILED";
    case "UNAVAILABLE":
      if (isContent) return "ERR_PIECE_TRUNCATED";
      return isTlsFailure(error.reason) ? "ERR_PARENT_UNTRUSTED" : "ERR_PARENT_UNREACHABLE";
    case "CANCELLED": // not by us: the parent has cut its connections
      return isContent ? "ERR_PIECE_TRUNCATED" : "ERR_PARENT_UNREACHABLE";
    case "PERMISSION_DENIED":
    case "UNAUTHENTICATED":
      return "ERR_PARENT_UNTRUSTED";
    default:
      return "ERR_PROTOCOL";
  }
}

/** grpc-js keeps only the text of what went wrong with a connection; OpenSSL's and Node's words for TLS are few. */
function isTlsFailure(reason: string): boolean {
  return /certificate|Cannot trust|SSL routines|tlsv1|sslv3/i.test(reason);
}
