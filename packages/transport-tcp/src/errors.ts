/** Why a server cannot start, or a downloader not dial. Stable API. */
export type TcpErrorCode =
  /** Somebody else listens there. */
  | "ERR_ADDRESS_IN_USE"
  /** The system refused: no such address, no permission, … */
  | "ERR_LISTEN_FAILED"
  /** Certificate or key cannot be used. */
  | "ERR_TLS_CONFIG";

/** Thrown by `serveTcp` and `createTcpDownloader`. The system's error is in `cause`. */
export class TcpError extends Error {
  override readonly name = "TcpError";
  readonly code: TcpErrorCode;

  constructor(code: TcpErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
