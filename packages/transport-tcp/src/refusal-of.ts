import { TransportError, type TransportErrorCode } from "@damselfly/transport";
import { ErrorCode, type ErrorPacket } from "@damselfly/vortex";

/** What an error packet means to the child. */
export function refusalOf({ code, message }: ErrorPacket, what: string): TransportError {
  // The text is the parent's, and may end in a log.
  const text = message.replaceAll(/\p{C}/gu, "?").slice(0, 512);
  return new TransportError(TRANSPORT_CODE_OF.get(code) ?? "ERR_PARENT_FAILED", `${what}: ${text}`);
}

const TRANSPORT_CODE_OF: ReadonlyMap<number, TransportErrorCode> = new Map([
  [ErrorCode.NotFound, "ERR_PIECE_NOT_FOUND"],
  [ErrorCode.Busy, "ERR_PARENT_BUSY"],
  [ErrorCode.InvalidArgument, "ERR_PROTOCOL"],
]);
