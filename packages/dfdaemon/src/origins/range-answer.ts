import { OriginError, type OriginAnswer } from "./origin-error.ts";
import type { OriginStat } from "./origin.ts";
import { formatStatus, parseContentLength, parseContentRange } from "./response-header.ts";
import { isSameVersion } from "./validators.ts";

export interface OriginRange {
  readonly offset: number;
  readonly length: number;
}

export type ExpectedVersion = Pick<OriginStat, "etag" | "lastModified" | "contentLength">;

/**
 * Lets an answer (200, 203, 206 or 416) pass whose body is exactly `range` of the version expected.
 *
 * A version is another when a length or a validator that both sides know differs. An answer that does not prove which version it is of
 * counts as no range, also where If-Range went along, which not every server heeds: what is read in one go needs no such proof.
 *
 * @throws {OriginError} `ERR_ORIGIN_CHANGED`, `ERR_ORIGIN_NO_RANGES`, `ERR_ORIGIN_TRUNCATED`, `ERR_ORIGIN_OVERLONG`
 */
export function judgeRange(
  answer: OriginAnswer,
  range: OriginRange,
  expected: ExpectedVersion,
  action: string,
): void {
  const { statusCode, responseHeader } = answer;
  const { offset, length } = range;
  const wanted = `bytes ${offset}-${offset + length - 1} of ${expected.contentLength ?? "unknown"}`;
  const refuse = (code: OriginError["code"], what: string): never => {
    throw new OriginError(code, `Cannot ${action}: ${what}`, { answer });
  };

  if (statusCode === 416)
    refuse("ERR_ORIGIN_CHANGED", `origin answered ${formatStatus(answer)}, expected ${wanted}`);
  for (const [name, was] of [
    ["etag", expected.etag],
    ["last-modified", expected.lastModified],
  ] as const) {
    const is = responseHeader[name] ?? "";
    if (is !== "" && was !== "" && is !== was)
      refuse("ERR_ORIGIN_CHANGED", `the file has changed, ${name} is ${is}, was ${was}`);
  }
  const contentRange = statusCode === 206 ? parseContentRange(responseHeader) : undefined;
  const contentLength = parseContentLength(responseHeader);
  const total = statusCode === 206 ? contentRange?.total : contentLength;
  if (
    total !== undefined &&
    expected.contentLength !== undefined &&
    total !== expected.contentLength
  ) {
    refuse(
      "ERR_ORIGIN_CHANGED",
      `the file has changed, its length is ${total}, was ${expected.contentLength}`,
    );
  }

  const isWhole = offset === 0 && total === length;
  if (statusCode !== 206 && !isWhole) {
    refuse(
      "ERR_ORIGIN_NO_RANGES",
      `origin answered ${formatStatus(answer)} to a request for ${wanted}: it ignores ranges`,
    );
  }
  const { "content-type": contentType = "", etag = "" } = responseHeader;
  const isOneRange =
    contentRange?.first === offset &&
    contentRange.last === offset + length - 1 &&
    !/^multipart\/byteranges\b/i.test(contentType);
  if (statusCode === 206 && !isOneRange) {
    const got = responseHeader["content-range"] ?? (contentType || "nothing about it");
    refuse(
      "ERR_ORIGIN_NO_RANGES",
      `origin sent another range than asked for: ${got}, expected ${wanted}`,
    );
  }
  const { "last-modified": lastModified = "" } = responseHeader;
  if (!isSameVersion({ etag, lastModified }, expected)) {
    refuse(
      "ERR_ORIGIN_NO_RANGES",
      "the answer does not say that it is of the version asked for, neither by a strong ETag nor by Last-Modified",
    );
  }
  if (contentLength !== undefined && contentLength !== length) {
    const code = contentLength < length ? "ERR_ORIGIN_TRUNCATED" : "ERR_ORIGIN_OVERLONG";
    refuse(code, `origin announced ${contentLength} bytes for ${wanted}`);
  }
}
