import { STATUS_CODES } from "node:http";
import type { OriginAnswer } from "./origin-error.ts";
import type { Header } from "./request-header.ts";

/** Of one connection only (RFC 9110, section 7.6.1), or of one user's session: not part of what is known about a file. */
const WITHHELD = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-connection",
  "set-cookie",
  "set-cookie2",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Lower-case names, repeated fields joined by a comma. */
export function responseHeaderOf(
  fields: Readonly<Record<string, string | string[] | undefined>>,
): Header {
  const header: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) {
    const lower = name.toLowerCase();
    if (value === undefined || WITHHELD.has(lower)) continue;
    header[lower] = Array.isArray(value) ? value.join(", ") : value;
  }
  return header;
}

export function formatStatus({
  statusCode,
  reason,
}: Pick<OriginAnswer, "statusCode" | "reason">): string {
  return reason === "" ? String(statusCode) : `${statusCode} ${reason}`;
}

/** The reason phrase as sent, or the registered one. */
export function reasonOf(statusCode: number, statusMessage: string | undefined): string {
  return statusMessage === undefined || statusMessage === ""
    ? (STATUS_CODES[statusCode] ?? "")
    : statusMessage;
}

/** Content-Length in bytes; undefined when it is missing or no length. */
export function parseContentLength(header: Header): number | undefined {
  const value = header["content-length"];
  if (value === undefined || !/^\d{1,16}$/.test(value)) return undefined;
  const length = Number(value);
  return Number.isSafeInteger(length) ? length : undefined;
}

/** `bytes 0-99/1000`; the total may be a star, and so may the range where it cannot be satisfied (RFC 9110, section 14.4). */
export interface ContentRange {
  /** Undefined in an answer to a range that cannot be satisfied. */
  readonly first: number | undefined;
  readonly last: number | undefined;
  /** Undefined when the origin does not know it. */
  readonly total: number | undefined;
}

/** Undefined when it is missing or malformed. */
export function parseContentRange(header: Header): ContentRange | undefined {
  const match = /^bytes (?:(\d{1,16})-(\d{1,16})|\*)\/(\d{1,16}|\*)$/i.exec(
    header["content-range"]?.trim() ?? "",
  );
  if (match === null) return undefined;
  const [, first, last, total] = match;
  const range = {
    first: first === undefined ? undefined : Number(first),
    last: last === undefined ? undefined : Number(last),
    total: total === "*" ? undefined : Number(total),
  };
  if (range.first === undefined && range.total === undefined) return undefined;
  return range;
}
