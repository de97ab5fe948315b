/**
 * A URL fit for logs and messages: no user information, no fragment, and of the query only the names, since presigned URLs carry their
 * signature there: `https://host/path?X-Amz-Signature=…`. What does not parse loses everything from `?` on, and up to `@`.
 */
export function redactUrl(url: string): string {
  if (!URL.canParse(url)) return url.replace(/[?#].*$/s, "").replace(/\/\/[^/]*@/, "//");
  const { protocol, host, pathname, searchParams } = new URL(url);
  const names = [...searchParams.keys()].map((name) => `${encodeURIComponent(name)}=…`);
  const query = names.length === 0 ? "" : `?${names.join("&")}`;
  return `${protocol}//${host}${pathname}${query}`;
}
