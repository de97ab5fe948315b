import { createHash } from "node:crypto";
import { credentialsDigest } from "../identity/credentials-digest.ts";
import type { DownloadRequest } from "./download-request.ts";

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
