import { Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { statusCode, statusName, type StatusName } from "./status.ts";

/**
 * A call that did not end well, on either side: clients throw it, and handlers throw it to answer with its status.
 * Programs branch on `code`.
 */
export class RpcError extends Error {
  override readonly name = "RpcError";
  /** The gRPC status by name. */
  readonly code: StatusName;
  /** What the server said, without the words that `message` puts around it. */
  readonly reason: string;
  /** Who was called, as `10.0.0.1:4000` or a socket path; undefined on the serving side. */
  readonly target: string | undefined;
  /** Raw bytes of `grpc-status-details-bin`; what they mean is between the two sides. */
  readonly details: Uint8Array | undefined;

  constructor(
    code: StatusName,
    reason: string,
    options: ErrorOptions & {
      readonly target?: string;
      readonly method?: string;
      readonly details?: Uint8Array;
    } = {},
  ) {
    const { target, method, details, ...errorOptions } = options;
    const at = target === undefined ? "" : `Cannot call ${method ?? "a method"} at ${target}: `;
    super(`${at}${code}${reason === "" ? "" : `: ${reason}`}`, errorOptions);
    this.code = code;
    this.reason = reason;
    this.target = target;
    this.details = details;
  }

  /** What grpc-js reports, translated; anything else is `UNKNOWN` with its message. */
  static from(
    error: unknown,
    context: { readonly target: string; readonly method: string },
  ): RpcError {
    if (!isServiceError(error)) {
      const reason = error instanceof Error ? error.message : String(error);
      return new RpcError("UNKNOWN", reason, { ...context, cause: error });
    }
    const details = error.metadata?.get(detailsKey)[0];
    return new RpcError(statusName(error.code), plainReason(error.details), {
      ...context,
      ...(details instanceof Uint8Array ? { details } : {}),
      cause: error,
    });
  }
}

/** For a handler to throw: `throw status("NOT_FOUND", "local task not found")`. */
export function status(code: StatusName, reason: string, details?: Uint8Array): RpcError {
  return new RpcError(code, reason, details === undefined ? {} : { details });
}

/** How a server answers with `error`; what is no `RpcError` is `INTERNAL` with its message. */
export function toStatusObject(error: unknown): StatusObject {
  const metadata = new Metadata();
  if (!(error instanceof RpcError)) {
    const reason = error instanceof Error ? error.message : String(error);
    return { code: statusCode("INTERNAL"), details: headerText(reason), metadata };
  }
  if (error.details !== undefined) metadata.set(detailsKey, Buffer.from(error.details));
  return { code: statusCode(error.code), details: headerText(error.reason), metadata };
}

/** What grpc-js says about a connection that could not be had, without what it wraps around the reason. */
function plainReason(details: string): string {
  const match =
    /^No connection established\. Last error: (?:Error: )?(.*?)\. Resolution note: $/s.exec(
      details,
    );
  if (match?.[1] === undefined) return details;
  const reason = match[1].replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, "").trim();
  if (reason !== "Failed to connect") return reason;
  return "the connection was closed at once: the other side may want TLS, or not trust this node";
}

/** It travels in a header: bounded, and without the lone surrogates that cannot be encoded. */
function headerText(reason: string): string {
  return Buffer.from(reason.slice(0, REASON_LENGTH_MAX)).toString();
}

const REASON_LENGTH_MAX = 2_000;

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "number" &&
    "details" in error
  );
}

const detailsKey = "grpc-status-details-bin";
