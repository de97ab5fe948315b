import { createHash } from "node:crypto";
import { isCredentialHeader } from "./is-credential-header.ts";

/**
 * A digest of the headers that say who is asking, so that a file fetched with one person's credentials is not handed to another
 * unasked. Empty when there are none. Order and case of names do not matter; the credentials cannot be read back.
 */
export function credentialsDigest(header: Readonly<Record<string, string>>): string {
  const credentials = Object.entries(header)
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => isCredentialHeader(name))
    .toSorted(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
  if (credentials.length === 0) return "";
  return createHash("sha256").update(JSON.stringify(credentials)).digest("hex");
}
