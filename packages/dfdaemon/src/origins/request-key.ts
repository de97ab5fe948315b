import { createHash } from "node:crypto";
import { onceFor } from "../once-for.ts";
import type { OriginRequest } from "./origin.ts";

/**
 * One name for all requests that an origin cannot tell apart: with other credentials or another trust it may answer otherwise. Hashed, so that no
 * credentials lie around in keys. Whoever downloads asks about one request many times a second.
 */
export const requestKey: (request: OriginRequest) => string = onceFor(
  ({ url, header, caCert, insecure }) => {
    const fields = Object.entries(header)
      .map(([name, value]) => `${name.toLowerCase()}:${value}`)
      .toSorted();
    return createHash("sha256")
      .update(JSON.stringify([url, fields, caCert ?? "", insecure ?? false]))
      .digest("base64");
  },
);
