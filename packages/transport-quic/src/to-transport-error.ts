import { QuicError } from "@damselfly/quic";
import { TransportError, type TransportErrorCode } from "@damselfly/transport";
import { VortexError } from "@damselfly/vortex";
import { StreamCode } from "./codes.ts";

/**
 * A failure of the layers below, as the transport's callers know it. What is no failure of theirs, such as the
 * reason of an aborted signal, comes back as it is.
 *
 * @param lost what a broken connection means at this moment
 */
export function toTransportError(
  error: unknown,
  what: string,
  lost: TransportErrorCode = "ERR_PARENT_UNREACHABLE",
): unknown {
  if (error instanceof VortexError) return wrap("ERR_PROTOCOL", what, error);
  if (error instanceof QuicError) return wrap(codeOf(error, lost), what, error);
  return error;
}

function wrap(code: TransportErrorCode, what: string, cause: Error): TransportError {
  return new TransportError(code, `${what}: ${cause.message}`, { cause });
}

function codeOf(error: QuicError, lost: TransportErrorCode): TransportErrorCode {
  switch (error.code) {
    case "ERR_UNTRUSTED":
      return "ERR_PARENT_UNTRUSTED";
    case "ERR_REFUSED":
    case "ERR_STREAM_LIMIT":
      return "ERR_PARENT_BUSY";
    case "ERR_STREAM_RESET":
      return codeOfReset(error.applicationCode, lost);
    case "ERR_STREAM_STOPPED":
      return "ERR_PARENT_FAILED";
    case "ERR_CONNECTION_LOST":
    case "ERR_CLOSED":
      return lost;
    case "ERR_QUIC_UNAVAILABLE":
    case "ERR_TLS_CONFIG":
    case "ERR_TLS":
    case "ERR_ADDRESS":
    case "ERR_UNREACHABLE":
    case "ERR_DIAL_TIMEOUT":
      break;
  }
  return "ERR_PARENT_UNREACHABLE";
}

function codeOfReset(code: number | undefined, lost: TransportErrorCode): TransportErrorCode {
  if (code === StreamCode.Refused) return "ERR_PARENT_BUSY";
  if (code === StreamCode.Failed) return "ERR_PARENT_FAILED";
  return code === StreamCode.Protocol ? "ERR_PROTOCOL" : lost;
}
