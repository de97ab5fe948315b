import { TransportError, type TransportErrorCode } from "./errors.ts";

/** What a parent may tell a child about a piece it does not serve. */
export type RefusalCode = Extract<
  TransportErrorCode,
  "ERR_PIECE_NOT_FOUND" | "ERR_PARENT_BUSY" | "ERR_PARENT_FAILED"
>;

/** The part of a failed `openPiece` or read that crosses the wire. */
export interface Refusal {
  readonly code: RefusalCode;
  /** For people on the other side. */
  readonly message: string;
}

/**
 * What to tell the child about an error of the piece source. Anything but a refusal the source meant is
 * `ERR_PARENT_FAILED` without details: the error may hold paths, and belongs into this host's log.
 */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof TransportError && isRefusalCode(error.code)) {
    return { code: error.code, message: error.message };
  }
  return { code: "ERR_PARENT_FAILED", message: "Cannot serve piece: the parent failed to read it" };
}

function isRefusalCode(code: TransportErrorCode): code is RefusalCode {
  return (
    code === "ERR_PIECE_NOT_FOUND" || code === "ERR_PARENT_BUSY" || code === "ERR_PARENT_FAILED"
  );
}
