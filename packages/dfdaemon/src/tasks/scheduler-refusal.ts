import { RpcError } from "@damselfly/rpc";
import { DaemonError } from "../errors.ts";

const REFUSALS: ReadonlySet<string> = new Set([
  "FAILED_PRECONDITION",
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "UNIMPLEMENTED",
]);

/** A status that is an answer, and would be the same again; others say that the scheduler, or our place at it, is lost. */
export function isRefusal(error: unknown, priority: string): boolean {
  const status = statusOf(error);
  // What a scheduler has not found may be a peer to fetch from, for those who may only have what others have.
  if (status === "NOT_FOUND") return priority === "LEVEL2" && !isHostUnknown(error);
  return status !== undefined && REFUSALS.has(status);
}

function isHostUnknown(error: unknown): boolean {
  return causeOf(error)?.reason.startsWith("host ") === true;
}

/** What a scheduler answered; undefined: it is no answer of one. */
export function statusOf(error: unknown): string | undefined {
  return causeOf(error)?.code;
}

function causeOf(error: unknown): RpcError | undefined {
  const cause = error instanceof DaemonError ? error.cause : undefined;
  return cause instanceof RpcError ? cause : undefined;
}
