import { isCredentialHeader } from "../identity/is-credential-header.ts";
import { OriginError } from "./origin-error.ts";
import { redactUrl } from "./redact-url.ts";

/** Header fields, lower-case names. */
export type Header = Readonly<Record<string, string>>;

/**
 * Never passed on from a request: what belongs to one connection (RFC 9110, section 7.6.1), and what would turn the answer into another
 * than the one asked for here (ranges, conditions, content codings).
 */
const WITHHELD = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "content-length",
  "expect",
  "accept-encoding",
  "range",
  "if-range",
  "if-match",
  "if-none-match",
  "if-modified-since",
  "if-unmodified-since",
]);

/** A URL that can be requested: user information moved out of it into `authorization`, no fragment. */
export interface Target {
  readonly url: URL;
  readonly header: Header;
}

/**
 * What to send for `url`: later headers win over earlier ones, an `authorization` header over the URL's user information.
 *
 * @throws {OriginError} `ERR_ORIGIN_URL` if it is not an HTTP URL
 */
export function targetOf(url: string, ...headers: Header[]): Target {
  const parsed = parseHttpUrl(url);
  const header: Record<string, string> = {};
  const authorization = basicAuthorization(parsed);
  if (authorization !== undefined) header["authorization"] = authorization;
  for (const [name, value] of headers.flatMap((fields) => Object.entries(fields))) {
    const lower = name.toLowerCase();
    if (!WITHHELD.has(lower)) header[lower] = value;
  }
  return { url: withoutUserInformation(parsed), header };
}

/**
 * The target of a redirect. To another origin (scheme, host or port differs) no field goes that may be a credential, nor does one that
 * was left out before come back.
 *
 * @throws {OriginError} `ERR_ORIGIN_URL` if it leads away from HTTP
 */
export function redirectTarget(from: Target, location: string): Target {
  if (!URL.canParse(location, from.url.href)) {
    throw new OriginError(
      "ERR_ORIGIN_URL",
      `Cannot follow redirect: ${redactUrl(from.url.href)} leads to an unreadable URL`,
    );
  }
  const url = parseHttpUrl(new URL(location, from.url.href).href);
  const kept =
    url.origin === from.url.origin
      ? from.header
      : Object.fromEntries(
          Object.entries(from.header).filter(
            ([name]) => name !== "host" && name !== "referer" && !isCredentialHeader(name),
          ),
        );
  const authorization = basicAuthorization(url);
  const header = authorization === undefined ? kept : { ...kept, authorization };
  return { url: withoutUserInformation(url), header };
}

function parseHttpUrl(url: string): URL {
  if (!URL.canParse(url))
    throw new OriginError("ERR_ORIGIN_URL", `Cannot read URL: '${redactUrl(url)}' is not a URL`);
  const parsed = new URL(url);
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") {
    throw new OriginError(
      "ERR_ORIGIN_URL",
      `Cannot read URL: '${redactUrl(url)}' is not http or https`,
    );
  }
  return parsed;
}

function basicAuthorization({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  return `Basic ${Buffer.from(`${decode(username)}:${decode(password)}`).toString("base64")}`;
}

/** Percent-decoded where it can be; a stray `%` stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withoutUserInformation(url: URL): URL {
  const bare = new URL(url.href);
  bare.username = "";
  bare.password = "";
  bare.hash = "";
  return bare;
}
