import type { AnnouncedDigest } from "./announced-digests.ts";

/** What it takes to ask an origin: credentials and trust travel with every request. */
export interface OriginRequest {
  /** http or https. */
  readonly url: string;
  /** Sent to the origin as given; `authorization`, `cookie` and the like are not sent on to another host by a redirect. */
  readonly header: Readonly<Record<string, string>>;
  /** PEM of certificate authorities to trust besides the system's and the configured ones. */
  readonly caCert?: string;
  /** Do not check the origin's certificate. Only ever set on the user's explicit word. */
  readonly insecure?: boolean;
}

/** What the origin says a file is. */
export interface OriginStat {
  /** Undefined when the origin does not know it (chunked): then only `readAll` can tell. */
  readonly contentLength: number | undefined;
  /** Empty when not sent. */
  readonly etag: string;
  readonly lastModified: string;
  /** Hash of length, ETag and Last-Modified; `undefined` length hashes as empty. */
  readonly contentVersion: string;
  /** False when the origin is known not to serve ranges, or sends nothing by which ranges of two versions are told apart: see `canTellVersionsApart`. */
  readonly rangeable: boolean;
  /** Lower-case names, hop-by-hop fields and Set-Cookie left out. */
  readonly responseHeader: Readonly<Record<string, string>>;
  readonly statusCode: number;
  /** Of the whole file, strongest first; see `announcedDigests`. Empty of a range. */
  readonly digests: readonly AnnouncedDigest[];
  /** Where redirects have led to, if there were any. */
  readonly target?: RedirectTarget;
}

/** Where a request was sent on to, and what goes along: less than the request's own header where that may hold secrets. Plain data, and may hold secrets itself. */
export interface RedirectTarget {
  readonly url: string;
  readonly header: Readonly<Record<string, string>>;
}

export interface OriginBody extends AsyncDisposable {
  readonly stat: OriginStat;
  /**
   * Pull = backpressure; leaving the loop closes the connection. A chunk is the consumer's until it asks for the next.
   * Throws `ERR_ORIGIN_TRUNCATED`, `ERR_ORIGIN_OVERLONG`, `ERR_ORIGIN_STALLED`, `ERR_ORIGIN_UNREACHABLE` (connection lost), or the signal's reason.
   */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Somebody has to wait for an origin; told as it begins. */
export interface OriginWait {
  /** `asked`: it wants a pause. `failed`: it has failed, and is spared for a while. `silent`: it has been asked and says nothing. */
  readonly kind: "asked" | "failed" | "silent";
  /** How long from now, in milliseconds; 0 where nobody knows. */
  readonly waitMs: number;
  /** Why, for people: `origin answered 503 Service Unavailable, Retry-After: 5`. */
  readonly reason: string;
  /** The attempt of this call that failed, from 1; 0: it was somebody else's. */
  readonly attempt: number;
}

export interface OriginCallOptions {
  readonly signal?: AbortSignal;
  /** Only a guarded origin waits: see `guardOrigin`. */
  readonly onWait?: (wait: OriginWait) => void;
}

/** Where files come from. Each call asks once; what is worth another try, and when, is the matter of an `OriginGuard`. */
export interface Origin extends AsyncDisposable {
  /**
   * @param options.byGet - do without the shortcut of HEAD
   * @throws {OriginError}
   */
  stat(
    request: OriginRequest,
    options?: OriginCallOptions & { readonly byGet?: boolean },
  ): Promise<OriginStat>;
  /**
   * Exactly the bytes `offset … offset + length` of the version that `expected` describes (`If-Range`, and the answer's validators and
   * Content-Range compared).
   *
   * @param options.target - where an earlier request was sent on to: begins there, and starts over from the request's URL where that fails
   * @throws {OriginError} `ERR_ORIGIN_CHANGED` when it now serves another version, `ERR_ORIGIN_NO_RANGES` when it ignores ranges, …
   */
  readRange(
    request: OriginRequest,
    range: { readonly offset: number; readonly length: number },
    expected: Pick<OriginStat, "etag" | "lastModified" | "contentLength">,
    options?: OriginCallOptions & { readonly target?: RedirectTarget | undefined },
  ): Promise<OriginBody>;
  /** The whole body; a length announced is a length kept, or the content throws. */
  readAll(request: OriginRequest, options?: OriginCallOptions): Promise<OriginBody>;
}
