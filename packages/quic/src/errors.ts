/** What went wrong, in the order a connection meets it. Stable API: callers switch on it. */
export type QuicErrorCode =
  /** No native binding loads on this machine. */
  | "ERR_QUIC_UNAVAILABLE"
  /** The given certificate, key or authority is unusable. */
  | "ERR_TLS_CONFIG"
  /** The socket could not be opened at the given address. */
  | "ERR_ADDRESS"
  /** The address cannot be sent to. */
  | "ERR_UNREACHABLE"
  /** The handshake did not finish in time. */
  | "ERR_DIAL_TIMEOUT"
  /** One side did not accept the other's certificate. */
  | "ERR_UNTRUSTED"
  /** The TLS handshake failed for another reason, such as no protocol in common. */
  | "ERR_TLS"
  /** The peer takes no connection now. */
  | "ERR_REFUSED"
  /** The connection ended under its streams; why is in the message. */
  | "ERR_CONNECTION_LOST"
  /** The peer ended its side of the stream abruptly; `applicationCode` says why. */
  | "ERR_STREAM_RESET"
  /** The peer does not want what is written to the stream; `applicationCode` says why, when known. */
  | "ERR_STREAM_STOPPED"
  /** The peer grants no further stream. */
  | "ERR_STREAM_LIMIT"
  /** The endpoint, connection or stream was closed on this side. */
  | "ERR_CLOSED";

/**
 * Thrown by everything in this package that can fail because of a peer, the network or the machine.
 * Wrong arguments throw `TypeError` or `RangeError` instead.
 */
export class QuicError extends Error {
  override readonly name = "QuicError";
  readonly code: QuicErrorCode;
  /** The peer's application error code, where it sent one. */
  readonly applicationCode: number | undefined;

  constructor(
    code: QuicErrorCode,
    message: string,
    options?: ErrorOptions & { readonly applicationCode?: number | undefined },
  ) {
    super(message, options);
    this.code = code;
    this.applicationCode = options?.applicationCode;
  }
}
