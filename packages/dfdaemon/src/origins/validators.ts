/** What an answer says of the version it is of, and when it was made; empty: nothing. */
export interface Validators {
  /** As sent, with quotes and `W/`. */
  readonly etag: string;
  /** As sent. */
  readonly lastModified: string;
  /** As sent, in the same answer. */
  readonly date: string;
}

/** Whether equal ETags mean equal bytes. Weak ones mean bytes that are as good as the others (RFC 9110, section 8.8.1). */
export function isStrongEtag(etag: string): boolean {
  return etag !== "" && !etag.startsWith("W/");
}

/**
 * Whether parts of a file that were read at different times can be told to be of one version: by a strong ETag, else by a
 * Last-Modified that is at least a second older than the answer it came in. A younger one may be that of two versions, both written in
 * the second that it names (RFC 9110, section 8.8.2.2).
 */
export function canTellVersionsApart({ etag, lastModified, date }: Validators): boolean {
  if (isStrongEtag(etag)) return true;
  // Not a number where one of them is missing or no date.
  return Date.parse(date) - Date.parse(lastModified) >= 1000;
}

/**
 * Whether an answer is of the very bytes that `expected` was about. Only what proves it counts: a strong ETag, else a date, whose strength
 * has been judged by `canTellVersionsApart` before.
 */
export function isSameVersion(
  answer: Pick<Validators, "etag" | "lastModified">,
  expected: Pick<Validators, "etag" | "lastModified">,
): boolean {
  if (isStrongEtag(expected.etag)) return answer.etag === expected.etag;
  return expected.lastModified !== "" && answer.lastModified === expected.lastModified;
}
