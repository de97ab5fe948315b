import { status, type StatusName } from "@damselfly/rpc";
import { SchedulerError, type SchedulerErrorCode } from "./errors.ts";

/** The words of Dragonfly's scheduler where it has some. */
const STATUS: Readonly<Record<SchedulerErrorCode, StatusName>> = {
  ERR_INVALID_MESSAGE: "INVALID_ARGUMENT",
  ERR_UNTRUSTED_HOST: "PERMISSION_DENIED",
  ERR_HOST_NOT_FOUND: "NOT_FOUND",
  ERR_HOST_TAKEN: "ALREADY_EXISTS",
  ERR_PEER_TAKEN: "ALREADY_EXISTS",
  ERR_PEER_NOT_FOUND: "NOT_FOUND",
  ERR_TASK_NOT_FOUND: "NOT_FOUND",
  ERR_FORBIDDEN: "FAILED_PRECONDITION",
  ERR_NO_PARENT: "FAILED_PRECONDITION",
  // What the daemon should do is announce itself and register again, as for a host that is not found.
  ERR_PEER_GONE: "NOT_FOUND",
  ERR_FULL: "RESOURCE_EXHAUSTED",
  ERR_DEAF: "RESOURCE_EXHAUSTED",
  ERR_CLOSED: "UNAVAILABLE",
};

/** What to throw so that the caller is answered so; anything but a `SchedulerError` is a mistake of ours and stays what it is. */
export function answerStatus(error: unknown): unknown {
  return error instanceof SchedulerError ? status(STATUS[error.code], error.message) : error;
}
