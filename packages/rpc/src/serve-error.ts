/** Why a server could not start. Stable API. */
export type ServeErrorCode =
  /** Somebody else listens there. */
  | "ERR_ADDRESS_IN_USE"
  /** The socket cannot be given to the user or group that it is meant for. */
  | "ERR_OWNER"
  /** The system refused: no such address, no permission, … */
  | "ERR_LISTEN_FAILED";

/** Thrown by `serveRpc`. The system's error is in `cause`. */
export class ServeError extends Error {
  override readonly name = "ServeError";
  readonly code: ServeErrorCode;

  constructor(code: ServeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
