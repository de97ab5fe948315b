import { OriginError } from "./origin-error.ts";

/** What to name in the message of a failure. */
export interface FailureContext {
  /** What could not be done, `read http://host/path`, without credentials. */
  readonly action: string;
  /** The proxy asked, without credentials. */
  readonly via?: string | undefined;
  readonly headersMs: number;
  readonly stallMs: number;
  /** Scheme, host and port that are asked. */
  readonly at?: string | undefined;
}

/** Translates what undici, Node's sockets and OpenSSL throw; an `OriginError`, and an abort's reason, stay what they are. */
export function originFailure(
  error: unknown,
  context: FailureContext,
  signal?: AbortSignal,
): unknown {
  if (error instanceof OriginError) return error;
  if (signal?.aborted === true && error === signal.reason) return error;
  const { action, via, headersMs, stallMs, at } = context;
  const options = { cause: error, at };
  const code = codeOf(error);
  const through = via === undefined ? "" : ` through proxy ${via}`;
  if (isTlsFault(code)) {
    const message = `Cannot ${action}${through}: ${tlsReason(code, error)}`;
    return new OriginError("ERR_ORIGIN_TLS", message, options);
  }
  switch (code) {
    case "UND_ERR_HEADERS_TIMEOUT":
      return new OriginError(
        "ERR_ORIGIN_STALLED",
        `Cannot ${action}${through}: no answer within ${headersMs} ms`,
        options,
      );
    case "UND_ERR_BODY_TIMEOUT":
      return new OriginError(
        "ERR_ORIGIN_STALLED",
        `Cannot ${action}${through}: nothing arrived for ${stallMs} ms`,
        options,
      );
    case "UND_ERR_INVALID_ARG":
      return new OriginError("ERR_ORIGIN_URL", `Cannot ${action}: ${textOf(error)}`, options);
    default:
      return new OriginError(
        "ERR_ORIGIN_UNREACHABLE",
        `Cannot ${action}${through}: ${textOf(error)}`,
        options,
      );
  }
}

/** Whether the peer ended the connection in good order, or said something that is no HTTP, in the middle of a body. */
export function isCutShort(error: unknown): boolean {
  const code = codeOf(error);
  if (code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH") return true;
  if (code === "UND_ERR_SOCKET") return true;
  return code.startsWith("HPE_") || (error instanceof Error && error.name === "HTTPParserError");
}

/** Whether another try can help. */
export function isPassing(error: OriginError): boolean {
  if (error.code === "ERR_ORIGIN_STALLED") return true;
  if (error.code === "ERR_ORIGIN_STATUS")
    return [408, 425, 429, 500, 502, 503, 504].includes(error.statusCode ?? 0);
  if (error.code !== "ERR_ORIGIN_UNREACHABLE") return false;
  // No such host; a proxy that will not connect us; this client closed.
  return !["ENOTFOUND", "UND_ERR_ABORTED", "UND_ERR_DESTROYED"].includes(codeOf(error.cause));
}

/** Whether it took a time-out to find out. */
export function isSilence(error: OriginError): boolean {
  return error.code === "ERR_ORIGIN_STALLED" || codeOf(error.cause) === "UND_ERR_CONNECT_TIMEOUT";
}

function codeOf(error: unknown): string {
  const { code, errors } = (error ?? {}) as { code?: unknown; errors?: unknown };
  if (typeof code === "string") return code;
  // Every address of a host was tried: they mostly fail alike.
  return Array.isArray(errors) && errors.length > 0 ? codeOf(errors[0]) : "";
}

function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "")
    return error.errors.map(textOf).join(", ");
  return error instanceof Error ? error.message || error.name : String(error);
}

function isTlsFault(code: string): boolean {
  return /^ERR_TLS_|^ERR_SSL_|^EPROTO$|^UND_ERR_PRX_TLS$|CERT|SIGNATURE|_CRL_|^INVALID_(CA|PURPOSE)$|^PATH_LENGTH_EXCEEDED$|^HOSTNAME_MISMATCH$/.test(
    code,
  );
}

/** What OpenSSL's code means, and what to do about it. */
function tlsReason(code: string, error: unknown): string {
  switch (code) {
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "SELF_SIGNED_CERT_IN_CHAIN":
      return `the certificate is signed by an authority that is not trusted (${code}); name it with --ca-cert FILE, or use --insecure to go unchecked`;
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return `the certificate is self-signed (${code}); name it with --ca-cert FILE, or use --insecure to go unchecked`;
    case "CERT_HAS_EXPIRED":
      return `the certificate has expired (${code}); renew it, or use --insecure to go unchecked`;
    case "CERT_NOT_YET_VALID":
      return `the certificate is not valid yet (${code}); check the clock, or use --insecure to go unchecked`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `the certificate is for other names (${textOf(error)}); use the name it was issued for, or --insecure to go unchecked`;
    default:
      return /^EPROTO$|^ERR_SSL_/.test(code)
        ? `no TLS could be agreed on (${textOf(error).trim()}); is it https that is spoken there?`
        : `the certificate was refused (${code}: ${textOf(error)}); name its authority with --ca-cert FILE, or use --insecure to go unchecked`;
  }
}
