import {
  type ClientHttp2Stream,
  connect as connectSession,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from "node:http2";
import { connect } from "node:net";

import type { StatusName } from "@damselfly/rpc";

import { frameMessage, readMessages } from "./message-frames.ts";

/** A call that did not end with OK. `reason` is what the daemon said, or what happened to the connection. */
export class CallFailure extends Error {
  override readonly name = "CallFailure";
  readonly code: StatusName;
  readonly reason: string;
  /** Raw bytes of `grpc-status-details-bin`. */
  readonly details: Uint8Array | undefined;

  constructor(
    code: StatusName,
    reason: string,
    options: ErrorOptions & { details?: Uint8Array } = {},
  ) {
    const { details, ...errorOptions } = options;
    super(`${code}: ${reason}`, errorOptions);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

/**
 * One gRPC call over a unix socket, by Node's HTTP/2 alone: one request, any number of responses, as bytes. A gRPC library takes
 * 150 ms to load, more than the rest of a small download together. Leaving the loop cancels the call.
 *
 * @param path - `/<service>/<method>`
 * @throws {CallFailure} `UNAVAILABLE` when there is no connection, or it is lost
 * @throws the signal's reason
 */
export async function* callDaemon(
  socketPath: string,
  path: string,
  request: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  signal.throwIfAborted();
  const session = connectSession("http://localhost", {
    createConnection: () => connect({ path: socketPath }),
    settings: { enablePush: false, initialWindowSize: WINDOW_LENGTH },
    maxSessionMemory: SESSION_MEMORY_MAX_MB,
  });
  let lost: Error | undefined;
  session.on("error", (error) => (lost = error));
  session.once("connect", () => session.setLocalWindowSize(WINDOW_LENGTH));
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    te: "trailers",
    "content-type": "application/grpc",
    "grpc-accept-encoding": "identity",
    "user-agent": "damselfly-dfget",
  });
  const ending = watchEnd(stream);
  const onAbort = (): void => stream.close(constants.NGHTTP2_CANCEL);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    stream.end(frameMessage(request));
    yield* readMessages(stream);
    await ending.closed;
    signal.throwIfAborted();
    assertOk(ending, lost);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CallFailure) throw error;
    if (error instanceof RangeError)
      throw new CallFailure("INTERNAL", `Cannot read the answer: ${error.message}`, {
        cause: error,
      });
    await ending.closed;
    // A status that came before the connection broke says more than how it broke.
    if (ending.header["grpc-status"] !== undefined) assertOk(ending, lost);
    throw connectionFailure(lost ?? error);
  } finally {
    signal.removeEventListener("abort", onAbort);
    session.destroy();
  }
}

/** What a call ended with. The header is that of the end, and, where there was none, of the beginning. */
interface Ending {
  header: IncomingHttpHeaders & IncomingHttpStatusHeader;
  readonly closed: Promise<void>;
}

function watchEnd(stream: ClientHttp2Stream): Ending {
  const ending: Ending = {
    header: {},
    closed: new Promise((resolve) => stream.once("close", resolve)),
  };
  stream.once("response", (header) => (ending.header = header));
  stream.once("trailers", (header) => (ending.header = header));
  return ending;
}

/** @throws {CallFailure} */
function assertOk({ header }: Ending, lost: Error | undefined): void {
  const status = header["grpc-status"];
  if (status === undefined) {
    if (lost !== undefined) throw connectionFailure(lost);
    const http = header[":status"];
    if (http === undefined || http === 200)
      throw new CallFailure("UNAVAILABLE", "it hung up before it said how it went");
    throw new CallFailure("UNKNOWN", `it answered HTTP ${http}, expected gRPC`);
  }
  const code = STATUS_NAMES[Number(status)] ?? "UNKNOWN";
  if (code === "OK") return;
  const details = header["grpc-status-details-bin"];
  throw new CallFailure(
    code,
    decodeReason(header["grpc-message"]),
    typeof details === "string" ? { details: Buffer.from(details, "base64") } : {},
  );
}

function connectionFailure(error: unknown): CallFailure {
  const reason = error instanceof Error ? error.message : String(error);
  return new CallFailure("UNAVAILABLE", reason, { cause: error });
}

/** Percent-encoded UTF-8; what is not stays as it came. */
function decodeReason(text: unknown): string {
  if (typeof text !== "string") return "";
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Bytes under way for a stream and for the connection: a piece may be in a message. */
const WINDOW_LENGTH = 8 << 20;
const SESSION_MEMORY_MAX_MB = 256;

/** By number. */
const STATUS_NAMES: readonly StatusName[] = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];
