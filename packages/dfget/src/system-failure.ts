import { DfgetError, systemErrorCode } from "./errors.ts";

/** A failed system call in dfget's words, `Cannot write to /there: the disk is full (ENOSPC)`; anything else as it is. */
export function systemFailure(action: string, error: unknown): unknown {
  const code = systemErrorCode(error);
  if (code === undefined || !(error instanceof Error && "syscall" in error)) return error;
  return code === "ENOSPC" || code === "EDQUOT"
    ? new DfgetError("ERR_NO_SPACE", `Cannot ${action}: the disk is full (${code})`, {
        cause: error,
      })
    : new DfgetError("ERR_OUTPUT", `Cannot ${action}: ${code}`, { cause: error });
}
