import { createHash } from "node:crypto";
import type { OriginRequest } from "./origin.ts";

/**
 * One name for all requests that an origin cannot tell apart: with other credentials or another trust it may answer otherwise. Hashed, so that no
 * credentials lie around in keys.
 */
export function requestKey(request: OriginRequest): string {
  let key = KEYS.get(request);
  if (key === undefined) {
    key = computeKey(request);
    KEYS.set(request, key);
  }
  return key;
}

/** Whoever downloads asks about one request many times a second. */
const KEYS = new WeakMap<OriginRequest, string>();

function computeKey({ url, header, caCert, insecure }: OriginRequest): string {
  const fields = Object.entries(header)
    .map(([name, value]) => `${name.toLowerCase()}:${value}`)
    .toSorted();
  return createHash("sha256")
    .update(JSON.stringify([url, fields, caCert ?? "", insecure ?? false]))
    .digest("base64");
}
