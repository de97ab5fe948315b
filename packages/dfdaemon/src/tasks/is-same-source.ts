import { createHash } from "node:crypto";
import type { TaskFacts } from "@damselfly/storage";
import type { DownloadRequest } from "./download-request.ts";
import { isNamedVersion } from "./file-version.ts";

/**
 * Whether bytes that were read from `url` are those that a request asks for, as far as URLs tell. A task id does not: Dragonfly's is a hash of
 * URL and tag written one after the other, or of any text, or any digest in a URL, as the caller likes, so that bytes of one server can be
 * had under the id of another's file. Queries may differ, for callers name parameters that do not count.
 */
export function isSameSource(request: DownloadRequest, url: string): boolean {
  // Others say themselves that it does not matter where the bytes are from.
  return !isIdOfUrl(request) || sourceOf(request.origin.url) === sourceOf(url);
}

/** Whether the id of the task comes from its URL. */
export function isIdOfUrl(request: DownloadRequest): boolean {
  return (
    request.contentForCalculatingTaskId === undefined &&
    request.enableTaskIdBasedBlobDigest !== true
  );
}

/** Server and path. */
export function sourceOf(url: string): string {
  if (!URL.canParse(url)) return url;
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

/**
 * What peers tell each other of where a copy is from, SHA-256 in hex; empty where that does not matter.
 *
 * The version of a file is made of what its origin says, and an origin can say anything: without this somebody could fetch bytes of his own
 * under the id of another URL, with its version, and pass them on.
 */
export function sourceDigestOf({ url, contentVersion }: TaskFacts): string {
  if (isNamedVersion(contentVersion)) return "";
  return createHash("sha256").update(sourceOf(url)).digest("hex");
}
