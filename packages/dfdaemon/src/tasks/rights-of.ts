import { createHash } from "node:crypto";
import { credentialsDigest } from "../identity/credentials-digest.ts";
import type { OriginRequest } from "../origins/origin.ts";
import type { DownloadRequest } from "./download-request.ts";
import { isUncheckedVersion } from "./file-version.ts";

/**
 * What a caller may see: who is asking, and whose certificates are believed. Asked for with other rights than those it was fetched with, a
 * copy is asked for at the origin first.
 */
export function rightsOf({ origin }: DownloadRequest): string {
  const credentials = credentialsDigest(origin.header);
  if (origin.caCert === undefined && origin.insecure !== true) return credentials;
  const trust = origin.insecure === true ? "unchecked" : origin.caCert;
  return createHash("sha256")
    .update(JSON.stringify([credentials, trust]))
    .digest("hex");
}

/** Whether bytes that are read for this request may become part of a copy of that version: what nobody checked goes into no checked copy. */
export function mayFill({ origin }: DownloadRequest, contentVersion: string): boolean {
  return origin.insecure !== true || isUncheckedVersion(contentVersion);
}

/** What an origin is asked for pieces of a copy of that version, for this request: those of a checked copy only a checked origin gives. */
export function originRequestFor(request: DownloadRequest, contentVersion: string): OriginRequest {
  if (mayFill(request, contentVersion)) return request.origin;
  const { insecure: _insecure, ...checked } = request.origin;
  return checked;
}
