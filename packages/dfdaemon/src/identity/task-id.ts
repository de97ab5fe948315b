import { createHash } from "node:crypto";
import { DaemonError } from "../errors.ts";
import { canonicalUrl } from "./canonical-url.ts";
import { parseDigest } from "./digest.ts";

/** Everything about a request that decides which task it is. Headers are not in it. */
export interface TaskIdentity {
  readonly url: string;
  /** Empty and absent are the same. */
  readonly tag?: string | undefined;
  readonly application?: string | undefined;
  /** Of a model hub's repository. */
  readonly revision?: string | undefined;
  /** Bytes, only when the request sets it. */
  readonly pieceLength?: number | undefined;
  /** Query keys that do not change what the file is; empty: the URL counts as it stands. */
  readonly filteredQueryParams?: readonly string[] | undefined;
  /** Replaces all of the above. */
  readonly contentForCalculatingTaskId?: string | undefined;
  /** A registry's blob or manifest is known by the digest in its URL. */
  readonly enableTaskIdBasedBlobDigest?: boolean | undefined;
}

/**
 * Dragonfly's id of the task: 64 lower-case hex digits (a blob known by another digest than SHA-256 has that one's text).
 * Source: dragonflyoss/client 1.5.10, id_generator, `task_id`.
 *
 * @throws {DaemonError} `ERR_REQUEST` if the URL cannot be parsed where that is needed, or a blob's URL has no digest
 */
export function computeTaskId(identity: TaskIdentity): string {
  if (identity.contentForCalculatingTaskId !== undefined)
    return sha256(identity.contentForCalculatingTaskId);
  const digest = identity.enableTaskIdBasedBlobDigest ? digestInUrl(identity.url) : undefined;
  if (digest !== undefined) return digest;
  return sha256(
    canonicalUrl(identity.url, identity.filteredQueryParams ?? []),
    identity.tag ?? "",
    identity.application ?? "",
    identity.revision ?? "",
    identity.pieceLength === undefined ? "" : String(identity.pieceLength),
    "STANDARD",
  );
}

function digestInUrl(url: string): string | undefined {
  const blob = referenceIn(url, "/blobs/");
  if (blob !== undefined) return parseDigest(blob).encoded;
  const manifest = referenceIn(url, "/manifests/");
  if (manifest === undefined) return undefined;
  try {
    return parseDigest(manifest).encoded;
  } catch (error) {
    // A tag, which names another manifest tomorrow.
    if (error instanceof DaemonError) return undefined;
    throw error;
  }
}

/**
 * What follows the last `marker` of `scheme://…/v2/…<marker>…`, up to a `?`. Searched by hand: the pattern with three `.*` that
 * describes it takes cubic time on a hostile URL.
 */
function referenceIn(url: string, marker: string): string | undefined {
  const scheme = url.indexOf("://");
  const api = scheme === -1 ? -1 : url.indexOf("/v2/", scheme + 3);
  if (api === -1) return undefined;
  const repository = api + "/v2/".length;
  for (let at = url.lastIndexOf(marker); at >= repository; at = url.lastIndexOf(marker, at - 1)) {
    const [reference = ""] = url.slice(at + marker.length).split("?", 1);
    if (reference !== "") return reference;
  }
  return undefined;
}

function sha256(...parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}
