import { TransportError, type TransportErrorCode } from "@damselfly/transport";
import { VortexError } from "@damselfly/vortex";
import { ConnectionLost } from "./connection-lost.ts";

/**
 * A failure before the announcement, as the transport's callers know it.
 *
 * @param what first half of the message
 */
export function toTransportError(error: unknown, what: string): unknown {
  if (error instanceof TransportError) return error;
  if (error instanceof VortexError) return wrap("ERR_PROTOCOL", what, error);
  if (error instanceof ConnectionLost) {
    return wrap(error.cause instanceof Error ? codeOf(error.cause) : UNREACHABLE, what, error);
  }
  // What else there is comes from a dial.
  return error instanceof Error ? wrap(codeOf(error), what, error) : error;
}

function wrap(code: TransportErrorCode, what: string, cause: Error): TransportError {
  return new TransportError(code, `${what}: ${cause.message}`, { cause });
}

const UNREACHABLE = "ERR_PARENT_UNREACHABLE";

/** There was nobody, or somebody who speaks something else, unless it is about who somebody is. */
function codeOf(error: Error): TransportErrorCode {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return TRUST.test(code) || TRUST.test(error.message) ? "ERR_PARENT_UNTRUSTED" : UNREACHABLE;
}

/** OpenSSL's and Node's words, and ours; alerts included, by which a parent says what it thinks of our certificate. */
const TRUST = /cert|issuer|signature|unknown.ca|access.denied|decrypt.error/i;
