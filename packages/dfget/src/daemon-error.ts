import type { CallFailure } from "./call-daemon.ts";
import { DfgetError } from "./errors.ts";

/** What the daemon ended the call with, in dfget's words. `hasStarted`: whether it had answered anything before. */
export async function fromCallFailure(
  error: CallFailure,
  context: { readonly hasStarted: boolean; readonly socketPath: string },
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
  const code = error.code === "DEADLINE_EXCEEDED" ? "ERR_TIMEOUT" : "ERR_DOWNLOAD";
  return new DfgetError(
    code,
    error.reason === "" ? `Cannot download: the daemon says ${error.code}` : error.reason,
    options,
  );
}
