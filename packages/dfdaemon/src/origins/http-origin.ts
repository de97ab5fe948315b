import { SILENT_LOGGER, type Logger } from "../logger.ts";
import { announcedDigests, digestRequestHeader } from "./announced-digests.ts";
import { contentVersion } from "./content-version.ts";
import { Dispatchers, type Trust } from "./dispatchers.ts";
import { exchange, type Answer } from "./exchange.ts";
import { openOriginBody } from "./origin-body.ts";
import { OriginError } from "./origin-error.ts";
import { originFailure, type FailureContext } from "./origin-failure.ts";
import type {
  Origin,
  OriginBody,
  OriginCallOptions,
  OriginRequest,
  OriginStat,
  RedirectTarget,
} from "./origin.ts";
import type { ProxySettings } from "./proxies.ts";
import { judgeRange, type ExpectedVersion, type OriginRange } from "./range-answer.ts";
import { redactUrl } from "./redact-url.ts";
import { followRedirects } from "./redirects.ts";
import { targetOf, type Header, type Target } from "./request-header.ts";
import { formatStatus, parseContentLength, parseContentRange } from "./response-header.ts";
import { retryAfterMs } from "./retry.ts";
import { canTellVersionsApart, isStrongEtag } from "./validators.ts";

export interface HttpOriginOptions {
  /** Sent unless a request brings its own. */
  readonly userAgent: string;
  /** Sent with every request, below the request's own fields; not to other hosts by a redirect where it looks like a secret. */
  readonly requestHeader?: Header;
  /** PEM of certificate authorities to trust besides the system's. */
  readonly caCert?: string;
  /** Check no origin's certificate. Only ever set on the operator's explicit word. */
  readonly insecure?: boolean;
  readonly proxy?: ProxySettings;
  /** Ask for digests of files. Default true. */
  readonly asksForDigests?: boolean;
  readonly limits?: Partial<HttpOriginLimits>;
  readonly observer?: OriginObserver;
  readonly logger?: Logger;
  /** Milliseconds of any clock. */
  readonly now?: () => number;
}

/** Who counts requests as they go over the wire: each redirect and each retry is one. */
export interface OriginObserver {
  originAsked(request: ObservedRequest): void;
  /** Up to the header of the answer; failed without one, or with a status of 400 or above. */
  originAnswered(
    request: ObservedRequest,
    answer: { readonly failed: boolean; readonly costMs: number },
  ): void;
}

export interface ObservedRequest {
  /** http or https. */
  readonly scheme: string;
  readonly method: string;
}

export interface HttpOriginLimits {
  /** For TCP and TLS together, in milliseconds. */
  readonly connectMs: number;
  /** From sending a request to the end of the answer's header, in milliseconds. */
  readonly headersMs: number;
  /** Without a byte of a body that somebody waits for, in milliseconds (above a second, precise to about a second). There is no limit on the whole. */
  readonly stallMs: number;
  /** Connections to one scheme, host and port; further requests wait for one. */
  readonly connectionsPerOrigin: number;
}

export const DEFAULT_HTTP_ORIGIN_LIMITS: HttpOriginLimits = {
  connectMs: 10_000,
  headersMs: 60_000,
  stallMs: 30_000,
  connectionsPerOrigin: 32,
};

const HEAD_MS_MAX = 10_000;

/** Origins over HTTP/1.1 and HTTPS. Holds keep-alive connections until disposed, which breaks whatever still runs. */
export function openHttpOrigin(options: HttpOriginOptions): Origin {
  return new HttpOrigin(options);
}

class HttpOrigin implements Origin {
  readonly #options: HttpOriginOptions;
  readonly #limits: HttpOriginLimits;
  readonly #now: () => number;
  readonly #logger: Logger;
  readonly #dispatchers: Dispatchers;

  constructor(options: HttpOriginOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_HTTP_ORIGIN_LIMITS, ...options.limits };
    this.#now = options.now ?? Date.now;
    this.#logger = options.logger ?? SILENT_LOGGER;
    this.#dispatchers = new Dispatchers({ ...this.#limits, proxy: options.proxy ?? {} });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dispatchers[Symbol.asyncDispose]();
  }

  /** A HEAD where that tells all there is to know, else the header of a GET for the first byte, whose failure is the one that counts. */
  async stat(
    request: OriginRequest,
    options: OriginCallOptions & { readonly byGet?: boolean } = {},
  ): Promise<OriginStat> {
    const { byGet = false } = options;
    const known = byGet ? undefined : await this.#statByHead(request, options);
    return known ?? (await this.#statByGet(request, options));
  }

  async readRange(
    request: OriginRequest,
    range: OriginRange,
    expected: ExpectedVersion,
    options: OriginCallOptions & { readonly target?: RedirectTarget | undefined } = {},
  ): Promise<OriginBody> {
    assertRange(range, expected);
    const { signal, target } = options;
    const header = rangeHeader(range, expected);
    const reply = await this.#send(request, { method: "GET", header, signal, target });
    const { answer, context } = reply;
    try {
      assertFileOrRange(reply, RANGE_STATUS_CODES);
      judgeRange(answer, range, expected, context.action);
    } catch (error) {
      answer.discard();
      throw error;
    }
    const stat = { ...statOf(reply), digests: [] };
    return openOriginBody({ ...reply, stat, length: range.length, signal });
  }

  async readAll(request: OriginRequest, options: OriginCallOptions = {}): Promise<OriginBody> {
    const reply = await this.#ask(request, {}, [200, 203], options.signal);
    const stat = statOf(reply);
    return openOriginBody({ ...reply, stat, length: stat.contentLength, signal: options.signal });
  }

  /** Undefined when a GET can tell better. Not tried twice: many origins know no HEAD, or allow only GET. */
  async #statByHead(
    request: OriginRequest,
    { signal }: OriginCallOptions,
  ): Promise<OriginStat | undefined> {
    try {
      const reply = await this.#send(request, {
        method: "HEAD",
        header: {},
        signal,
      });
      reply.answer.discard();
      // A pause that is asked for is kept, whatever was asked.
      assertNoPause(reply, this.#now());
      if (reply.answer.statusCode !== 200) return undefined;
      const stat = statOf(reply);
      return stat.rangeable && (stat.contentLength ?? 0) > 0 ? stat : undefined;
    } catch (error) {
      const final = ["ERR_ORIGIN_URL", "ERR_ORIGIN_TLS", "ERR_ORIGIN_REDIRECT_LOOP"];
      if (!(error instanceof OriginError) || final.includes(error.code)) throw error;
      if (error.code === "ERR_ORIGIN_STATUS") throw error;
      this.#logger.debug(
        { url: redactUrl(request.url) },
        `HEAD failed, trying GET: ${error.message}`,
      );
      return undefined;
    }
  }

  async #statByGet(request: OriginRequest, { signal }: OriginCallOptions): Promise<OriginStat> {
    let reply = await this.#ask(request, { range: "bytes=0-0" }, [200, 203, 206, 416], signal);
    if (reply.answer.statusCode === 416) {
      // There is no first byte: the file is empty, or the origin is confused. Without a range it says what it has.
      reply.answer.discard();
      reply = await this.#ask(request, {}, [200, 203], signal);
    }
    reply.answer.discard();
    return statOf(reply);
  }

  /** A GET from the beginning of the redirects; the answer is one of `statusCodes`. */
  async #ask(
    request: OriginRequest,
    header: Header,
    statusCodes: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    const reply = await this.#send(request, { method: "GET", header, signal });
    assertFileOrRange(reply, statusCodes);
    return reply;
  }

  /** Redirects followed. A known target of a range that fails is looked up once more from the start: presigned URLs expire. */
  async #send(request: OriginRequest, options: SendOptions): Promise<Reply> {
    const { userAgent, requestHeader = {} } = this.#options;
    const start = targetOf(request.url, { "user-agent": userAgent }, requestHeader, request.header);
    const { target } = options;
    if (target !== undefined) {
      try {
        const known = { url: new URL(target.url), header: target.header };
        const reply = await this.#sendFrom(known, start, request, options);
        if (!isTargetGone(reply.answer.statusCode)) return reply;
        reply.answer.discard();
      } catch (error) {
        if (!(error instanceof OriginError)) throw error;
        this.#logger.debug(
          { url: redactUrl(request.url) },
          `redirect target failed, starting over: ${error.message}`,
        );
      }
    }
    return await this.#sendFrom(start, start, request, options);
  }

  async #sendFrom(
    first: Target,
    asked: Target,
    request: OriginRequest,
    options: SendOptions,
  ): Promise<Reply> {
    const { stallMs } = this.#limits;
    const { asksForDigests = true } = this.#options;
    const { method, signal } = options;
    // HEAD is only a shortcut: some origins never answer it.
    const headersMs =
      method === "HEAD" ? Math.min(HEAD_MS_MAX, this.#limits.headersMs) : this.#limits.headersMs;
    const url = redactUrl(request.url);
    let context: FailureContext = { action: `read ${url}`, headersMs, stallMs };
    try {
      const arrival = await followRedirects(first, async (target) => {
        const at = redactUrl(target.url.href);
        const { via, ...route } = this.#dispatchers.route(target.url, this.#trustOf(request));
        context = {
          ...context,
          action: at === url ? `read ${url}` : `read ${url} (redirected to ${at})`,
          via,
          at: target.url.origin,
        };
        const header = {
          ...(method === "HEAD" && asksForDigests ? digestRequestHeader(target) : {}),
          ...target.header,
          ...options.header,
          "accept-encoding": "identity",
          ...route.header,
        };
        return await this.#observed(target.url, method, async () =>
          exchange({ ...route, method, header, headersMs, stallMs, signal }),
        );
      });
      return { ...arrival, asked: { method, url: asked.url }, context };
    } catch (error) {
      throw originFailure(error, context, signal);
    }
  }

  async #observed(url: URL, method: string, run: () => Promise<Answer>): Promise<Answer> {
    const { observer } = this.#options;
    const request = { scheme: url.protocol.slice(0, -1), method };
    const startedMs = this.#now();
    const costMs = (): number => this.#now() - startedMs;
    observer?.originAsked(request);
    try {
      const answer = await run();
      observer?.originAnswered(request, { failed: answer.statusCode >= 400, costMs: costMs() });
      return answer;
    } catch (error) {
      observer?.originAnswered(request, { failed: true, costMs: costMs() });
      throw error;
    }
  }

  #trustOf({ caCert, insecure }: OriginRequest): Trust {
    const caCerts = [this.#options.caCert, caCert].filter((pem) => pem !== undefined);
    return { caCerts, insecure: insecure ?? this.#options.insecure ?? false };
  }
}

interface SendOptions {
  readonly method: "GET" | "HEAD";
  readonly header: Header;
  readonly signal: AbortSignal | undefined;
  /** Where to begin, if not at the request's URL. */
  readonly target?: RedirectTarget | undefined;
}

interface Reply {
  readonly answer: Answer;
  readonly target: Target;
  readonly redirects: readonly Header[];
  /** What was asked, and where first. */
  readonly asked: { readonly method: "GET" | "HEAD"; readonly url: URL };
  readonly context: FailureContext;
}

/** What may be an answer to a request for a range; 416 where the file has become shorter. */
const RANGE_STATUS_CODES: readonly number[] = [200, 203, 206, 416];

/**
 * Whether a target that ranges were read from serves them no more. What says so differs from store to store: 400 where a token has run
 * out (S3, GCS), 403, 404. A target that is only busy is still the right one.
 */
function isTargetGone(statusCode: number): boolean {
  const isBusy = [408, 425, 429].includes(statusCode) || statusCode >= 500;
  return !isBusy && !RANGE_STATUS_CODES.includes(statusCode);
}

/** @throws {RangeError} a range that no file, or not the expected one, can have */
function assertRange({ offset, length }: OriginRange, { contentLength }: ExpectedVersion): void {
  const isRange =
    Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length > 0;
  if (isRange && offset + length <= (contentLength ?? Number.MAX_SAFE_INTEGER)) return;
  throw new RangeError(
    `Cannot read range: it is ${length} bytes from ${offset}, the file has ${contentLength ?? "unknown"} bytes`,
  );
}

/**
 * `If-Range` makes an origin that has another version send all of it instead of a range. Only a strong ETag may stand there, and a date
 * only where there is no ETag at all (RFC 9110, section 13.1.5). A date is not sent all the same: a server may leave Last-Modified out of
 * the answer then (section 15.3.7), and that is what proves the version, see `judgeRange`.
 */
function rangeHeader({ offset, length }: OriginRange, { etag }: ExpectedVersion): Header {
  const range = `bytes=${offset}-${offset + length - 1}`;
  return isStrongEtag(etag) ? { range, "if-range": etag } : { range };
}

/** @throws {OriginError} `ERR_ORIGIN_STATUS` */
function assertFileOrRange({ answer, context }: Reply, statusCodes: readonly number[]): void {
  const { statusCode } = answer;
  if (statusCodes.includes(statusCode)) return;
  answer.discard();
  throw statusError(context, answer);
}

/** @throws {OriginError} `ERR_ORIGIN_STATUS`, if the answer is that it wants to be asked later */
function assertNoPause({ answer, context }: Reply, nowMs: number): void {
  if (answer.statusCode < 400) return;
  const error = statusError(context, answer);
  if (retryAfterMs(error, nowMs) !== undefined) throw error;
}

function statusError({ action, via, at }: FailureContext, answer: Answer): OriginError {
  const who = answer.statusCode === 407 ? `proxy ${via ?? ""}` : "origin";
  return new OriginError(
    "ERR_ORIGIN_STATUS",
    `Cannot ${action}: ${who} answered ${formatStatus(answer)}`,
    { answer, at },
  );
}

/** What an answer says of the file as a whole: of a partial one, as if all of it had been asked for. */
function statOf({ answer, asked, redirects, target }: Reply): OriginStat {
  const { statusCode, responseHeader } = answer;
  const { etag = "", "last-modified": lastModified = "", date = "" } = responseHeader;
  const partial = statusCode === 206 ? parseContentRange(responseHeader) : undefined;
  const contentLength = statusCode === 206 ? partial?.total : parseContentLength(responseHeader);
  const acceptsRanges = /\bbytes\b/i.test(responseHeader["accept-ranges"] ?? "");
  const servesRanges = statusCode === 206 ? partial?.first !== undefined : acceptsRanges;
  const { "content-range": _range, "content-length": _length, ...header } = responseHeader;
  return {
    contentLength,
    etag,
    lastModified,
    contentVersion: contentVersion({ contentLength, etag, lastModified }),
    rangeable: servesRanges && canTellVersionsApart({ etag, lastModified, date }),
    responseHeader:
      contentLength === undefined ? header : { ...header, "content-length": String(contentLength) },
    statusCode: statusCode === 206 ? 200 : statusCode,
    digests: announcedDigests({ ...asked, redirects, statusCode, responseHeader, contentLength }),
    ...(target.url.href === asked.url.href
      ? {}
      : { target: { url: target.url.href, header: target.header } }),
  };
}
