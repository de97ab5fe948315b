/** What went wrong at the origin, in the order a request meets it. Stable API: callers switch on it. */
export type OriginErrorCode =
  /** The URL or a request header cannot be sent: no HTTP URL, a bad header name, a certificate that is none. */
  | "ERR_ORIGIN_URL"
  /** No connection, or it broke: refused, timed out, no such host, the proxy will not. */
  | "ERR_ORIGIN_UNREACHABLE"
  /** The origin's certificate is not trusted, or no TLS could be spoken. */
  | "ERR_ORIGIN_TLS"
  /** Redirects that come back to where they were, or too many of them. */
  | "ERR_ORIGIN_REDIRECT_LOOP"
  /** The origin answered, but not with the file: see `statusCode`, `reason` and `responseHeader`. */
  | "ERR_ORIGIN_STATUS"
  /** The file is no longer the one that was asked for. */
  | "ERR_ORIGIN_CHANGED"
  /** The origin ignores ranges, or answers them with others than asked for. */
  | "ERR_ORIGIN_NO_RANGES"
  /** The body ended before its announced length. */
  | "ERR_ORIGIN_TRUNCATED"
  /** The body went on past its announced length. */
  | "ERR_ORIGIN_OVERLONG"
  /** The whole file is not what the origin itself says it is. */
  | "ERR_ORIGIN_DIGEST"
  /** Nothing arrived for as long as one is willing to wait. */
  | "ERR_ORIGIN_STALLED"
  /** Not asked, since it has failed too often of late, or has asked to be left alone: see `retryAtMs`. */
  | "ERR_ORIGIN_SUSPENDED";

/** What the origin said, when it said anything. */
export interface OriginAnswer {
  readonly statusCode: number;
  /** The reason phrase as sent; the registered one when there was none. */
  readonly reason: string;
  /** As in `OriginStat.responseHeader`. */
  readonly responseHeader: Readonly<Record<string, string>>;
}

/**
 * Thrown by every `Origin`. The message is for people (URLs in it carry no credentials), the code is for programs, `cause` holds the
 * failure of the layer below.
 */
export class OriginError extends Error {
  override readonly name = "OriginError";
  readonly code: OriginErrorCode;
  readonly statusCode: number | undefined;
  readonly reason: string | undefined;
  readonly responseHeader: Readonly<Record<string, string>> | undefined;
  /** Scheme, host and port that failed, where it is known: a redirect may have led elsewhere. */
  readonly at: string | undefined;
  /** When it will be asked again, if it is known. Unix milliseconds. */
  readonly retryAtMs: number | undefined;

  constructor(code: OriginErrorCode, message: string, options?: OriginErrorOptions) {
    super(message, options);
    this.code = code;
    this.statusCode = options?.answer?.statusCode;
    this.reason = options?.answer?.reason;
    this.responseHeader = options?.answer?.responseHeader;
    this.at = options?.at;
    this.retryAtMs = options?.retryAtMs;
  }
}

export interface OriginErrorOptions extends ErrorOptions {
  readonly answer?: OriginAnswer | undefined;
  readonly at?: string | undefined;
  readonly retryAtMs?: number | undefined;
}

/** The same error, with something added to its message. */
export function explained(error: OriginError, why: string): OriginError {
  const { statusCode, reason, responseHeader, at, retryAtMs, cause } = error;
  const answer =
    statusCode === undefined || reason === undefined || responseHeader === undefined
      ? undefined
      : { statusCode, reason, responseHeader };
  return new OriginError(error.code, error.message + why, { cause, answer, at, retryAtMs });
}

/** What is wrong, without what could not be done because of it: that names a URL, which is not everybody's to know. */
export function reasonIn(message: string): string {
  return message.replace(
    /^Cannot read \S+(?: \(redirected to \S+\))?(?: through proxy \S+)?: /,
    "",
  );
}
