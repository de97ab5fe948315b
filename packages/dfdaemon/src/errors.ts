/** Why a task could not be had. Stable API: the services map each to a gRPC status. */
export type DaemonErrorCode =
  /** The request itself is wrong: no URL, a bad digest, a piece length below the least. */
  | "ERR_REQUEST"
  /** The request asks for what cannot be had here: an origin of another kind, a digest that is none. */
  | "ERR_UNSUPPORTED"
  /** The bytes asked for lie outside the file. */
  | "ERR_RANGE"
  /** Somebody else's question whether all of it is here: it is not. */
  | "ERR_NOT_HERE"
  /** Nobody has the pieces, and the origin may not or cannot be asked. */
  | "ERR_NO_SOURCE"
  /** The origin changed again each time the task started anew. */
  | "ERR_ORIGIN_UNSTABLE"
  /** The content is complete but not what the user said it is. */
  | "ERR_DIGEST_MISMATCH"
  /** A scheduler could not be reached, refused us, or broke off. */
  | "ERR_SCHEDULER"
  /** A parent's control channel said something unusable, or nothing. */
  | "ERR_PARENT"
  /** Two who have a piece say that it is different things; one of them is wrong. */
  | "ERR_SUPPLIERS_DIFFER"
  /** The process that moves content ended in the middle; another one is started, and what ran is to be asked for again. */
  | "ERR_DATA_PLANE_LOST"
  /** No process that moves content can be had: it ends each time. */
  | "ERR_DATA_PLANE"
  /** A server could not be started. */
  | "ERR_LISTEN"
  /** This daemon is stopping. */
  | "ERR_CLOSED";

/** Thrown by the daemon's own parts. The message is for people, the code is for programs; `cause` holds the layer below. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
  readonly code: DaemonErrorCode;

  constructor(code: DaemonErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
