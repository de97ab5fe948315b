/** What the scheduler refuses, in the order a peer's life meets it. Stable API: callers switch on it. */
export type SchedulerErrorCode =
  /** A message breaks one of the rules for its fields. */
  | "ERR_INVALID_MESSAGE"
  /** The certificate does not name the host that its bearer claims to be. */
  | "ERR_UNTRUSTED_HOST"
  /** The host has not announced itself, or not for two intervals. */
  | "ERR_HOST_NOT_FOUND"
  /** A living daemon elsewhere has the same host id. */
  | "ERR_HOST_TAKEN"
  /** Another host has a peer with the same id. */
  | "ERR_PEER_TAKEN"
  | "ERR_PEER_NOT_FOUND"
  | "ERR_TASK_NOT_FOUND"
  /** Priority 1: this download is forbidden unless somebody has the task. */
  | "ERR_FORBIDDEN"
  /** Nobody can serve this peer, and it may not read the origin. */
  | "ERR_NO_PARENT"
  /** The scheduler was told to forget this peer. */
  | "ERR_PEER_GONE"
  /** As many hosts, tasks or peers are known as may be. */
  | "ERR_FULL"
  /** A peer does not read what it is told. */
  | "ERR_DEAF"
  /** The scheduler is stopping. */
  | "ERR_CLOSED";

/**
 * Why the scheduler does not do what a peer asks. The message is for people, the code is for programs.
 * The failure of the layer below, if any, is in `cause`.
 */
export class SchedulerError extends Error {
  override readonly name = "SchedulerError";
  readonly code: SchedulerErrorCode;

  constructor(code: SchedulerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
