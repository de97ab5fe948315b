import { DaemonError } from "../errors.ts";

/**
 * The text that stands for a URL in its task id. Without a filter list it is the URL exactly as received, not even parsed.
 * With one: parsed by WHATWG rules, the listed query keys dropped (exact, case-sensitive), the rest sorted by key and
 * encoded as Go's `url.QueryEscape` does.
 *
 * Source: dragonflyoss/client 1.5.10, `filter_query_params`; the same rule as the Go scheduler's.
 *
 * @throws {DaemonError} `ERR_REQUEST` if it has to be parsed and cannot; the URL is not quoted, it may hold a token
 */
export function canonicalUrl(url: string, filteredQueryParams: readonly string[]): string {
  if (filteredQueryParams.length === 0) return url;
  if (!URL.canParse(url))
    throw new DaemonError("ERR_REQUEST", "Cannot make a task id: the URL cannot be parsed");

  const parsed = new URL(url);
  const filtered = new Set(filteredQueryParams);
  const pairs = parseQuery(parsed.search.slice(1)).filter(([key]) => !filtered.has(key));
  pairs.sort(([left], [right]) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
  parsed.search = pairs
    .map(([key, value]) => `${escapeQuery(key)}=${escapeQuery(value)}`)
    .join("&");
  return parsed.pathname === "/" && !hasPath(url) ? withoutPath(parsed) : parsed.href;
}

/** Pieces with a `;` are dropped whole, as Go's parser does. */
function parseQuery(query: string): [string, string][] {
  return query
    .split("&")
    .filter((segment) => !segment.includes(";"))
    .flatMap((segment) => [...new URLSearchParams(`?${segment}`)]);
}

/** Letters, digits and `-._~` stay, a space becomes `+`, every other byte `%XX`. */
function escapeQuery(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
}

/** Whether a slash follows the authority in the text as received; parsing adds one where there was none. */
function hasPath(url: string): boolean {
  const authority = /^[^:/?#]+:[/\\]{2}[^/\\?#]*/.exec(url);
  return authority === null || /[/\\]/.test(url.charAt(authority[0].length));
}

function withoutPath(parsed: URL): string {
  const slash = parsed.href.indexOf("/", parsed.protocol.length + 2);
  return parsed.href.slice(0, slash) + parsed.href.slice(slash + 1);
}
