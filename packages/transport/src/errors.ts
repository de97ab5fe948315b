/** What went wrong with a piece, in the order a download meets it. Stable API: callers switch on it. */
export type TransportErrorCode =
  /** No connection could be made: refused, timed out, no route, no common protocol. */
  | "ERR_PARENT_UNREACHABLE"
  /** A certificate was missing, wrong, expired or not this peer's. */
  | "ERR_PARENT_UNTRUSTED"
  /** The parent is at one of its limits; another parent, or this one later, may do. */
  | "ERR_PARENT_BUSY"
  /** The parent does not have the piece and is not fetching it. */
  | "ERR_PIECE_NOT_FOUND"
  /** The parent has the piece but could not read it, or found it damaged. */
  | "ERR_PARENT_FAILED"
  /** The content ended before the announced length, or the connection broke inside it. */
  | "ERR_PIECE_TRUNCATED"
  /** Nothing arrived for as long as the downloader is willing to wait. */
  | "ERR_PARENT_STALLED"
  /** The parent sent what the protocol does not allow. */
  | "ERR_PROTOCOL"
  /** This downloader or server has been disposed. */
  | "ERR_CLOSED";

/**
 * Thrown by every `Downloader` and by `PieceSource.openPiece`. The message is for people, the code is for programs.
 * The failure of the layer below, if any, is in `cause`.
 */
export class TransportError extends Error {
  override readonly name = "TransportError";
  readonly code: TransportErrorCode;

  constructor(code: TransportErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
