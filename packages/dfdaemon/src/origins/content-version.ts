import { createHash } from "node:crypto";
import type { OriginStat } from "./origin.ts";

/**
 * One name for one version of a file at its origin: SHA-256, in lower-case hex, of
 *
 *     <content length in decimal, or nothing> LF <ETag as sent, with quotes and W/, or nothing> LF <Last-Modified as sent, or nothing>
 *
 * Peers compare it before they take pieces from each other, so the form must never change.
 */
export function contentVersion(
  stat: Pick<OriginStat, "contentLength" | "etag" | "lastModified">,
): string {
  const { contentLength, etag, lastModified } = stat;
  return createHash("sha256")
    .update(`${contentLength ?? ""}\n${etag}\n${lastModified}`)
    .digest("hex");
}
