import { encodeBackendDetails, RpcError, status, type StatusName } from "@damselfly/rpc";
import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";
import { OriginError } from "../origins/origin-error.ts";

/**
 * A failure as Dragonfly's services answer it (facts: client 1.5.10, grpc/dfdaemon_download.rs): an origin's own answer goes along as JSON
 * details, and what has no status of its own is INTERNAL. Two Dragonfly's daemon never says, and its dfget takes as any failure: DATA_LOSS is
 * for content that is complete and not what the user said it is, ALREADY_EXISTS for an output whose name is taken.
 */
export function toStatus(error: unknown): RpcError {
  // What somebody whom we asked has answered is about our question, not about the caller's.
  if (error instanceof RpcError)
    return error.target === undefined ? error : status("INTERNAL", messageOf(error));
  if (error instanceof OriginError) {
    const { statusCode, responseHeader } = error;
    const message = messageOf(error);
    const details = {
      message,
      header: responseHeader ?? {},
      ...(statusCode === undefined ? {} : { statusCode }),
    };
    return status(
      error.code === "ERR_ORIGIN_URL" ? "INVALID_ARGUMENT" : "INTERNAL",
      message,
      encodeBackendDetails(details),
    );
  }
  if (error instanceof DaemonError) {
    if (error.code === "ERR_REQUEST") return status("INVALID_ARGUMENT", messageOf(error));
    if (error.code === "ERR_RANGE") return status("FAILED_PRECONDITION", messageOf(error));
    if (error.code === "ERR_NOT_HERE") return status("NOT_FOUND", messageOf(error));
    if (error.code === "ERR_CLOSED") return status("UNAVAILABLE", messageOf(error));
    // Dragonfly's last words, whatever came before them.
    if (error.code === "ERR_NO_SOURCE")
      return status("INTERNAL", `${messageOf(error)}: download failed`);
  }
  return status(STATUSES.get(codeOf(error)) ?? "INTERNAL", messageOf(error));
}

const STATUSES: ReadonlyMap<string, StatusName> = new Map([
  ["ERR_DIGEST_MISMATCH", "DATA_LOSS"],
  ["ERR_OUTPUT_EXISTS", "ALREADY_EXISTS"],
]);
