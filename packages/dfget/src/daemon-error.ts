import type { CallFailure } from "./call-daemon.ts";
import { DfgetError, type DfgetErrorCode } from "./errors.ts";
import type { RequestedRange } from "./options.ts";

/** What the daemon ended the call with, in dfget's words. `hasStarted`: whether it had answered anything before. */
export async function fromCallFailure(
  error: CallFailure,
  context: {
    readonly hasStarted: boolean;
    readonly socketPath: string;
    /** What was asked for of the file. */
    readonly range: RequestedRange | undefined;
  },
): Promise<DfgetError> {
  // Loaded late, for it takes its time: a download that goes well has no use for it.
  const origin =
    error.details === undefined
      ? undefined
      : (await import("@damselfly/rpc")).backendDetails(error);
  const options = { cause: error, status: error.code, ...(origin === undefined ? {} : { origin }) };
  if (error.code === "UNAVAILABLE") {
    return context.hasStarted
      ? new DfgetError(
          "ERR_DOWNLOAD",
          `Cannot go on: the daemon at ${context.socketPath} went away (${error.reason})`,
          options,
        )
      : new DfgetError(
          "ERR_DAEMON_UNREACHABLE",
          `Cannot reach the daemon at ${context.socketPath}: ${error.reason}`,
          options,
        );
  }
  return new DfgetError(
    codeOf(error, context.range),
    error.reason === "" ? `Cannot download: the daemon says ${error.code}` : error.reason,
    options,
  );
}

function codeOf({ code }: CallFailure, range: RequestedRange | undefined): DfgetErrorCode {
  if (code === "DEADLINE_EXCEEDED") return "ERR_TIMEOUT";
  // What our daemon says of a digest that it checked itself; Dragonfly's has no use for it.
  if (code === "DATA_LOSS") return "ERR_DIGEST_MISMATCH";
  // Likewise, of an output whose name is taken.
  if (code === "ALREADY_EXISTS") return "ERR_OUTPUT";
  // Dragonfly's daemon has no other use for it.
  return code === "FAILED_PRECONDITION" && range !== undefined ? "ERR_RANGE" : "ERR_DOWNLOAD";
}
