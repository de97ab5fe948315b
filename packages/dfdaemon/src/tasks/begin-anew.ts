import { StorageError } from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import type { DownloadRequest } from "./download-request.ts";
import { rightsOf } from "./rights-of.ts";

/** The whole is not what the user says it is, though every piece is what a peer said it is. */
export class PeersLied extends Error {
  override readonly name = "PeersLied";
  readonly code = "ERR_DIGEST_MISMATCH";
  constructor(cause: unknown) {
    super("Cannot deliver the file: what the peers gave is not the file", { cause });
  }
}

/** Content was given away that turns out to be something else than the file's. */
export class PieceDenied extends Error {
  override readonly name = "PieceDenied";
  readonly code = "ERR_DIGEST_MISMATCH";
  constructor(pieceNumber: number) {
    super(
      `Cannot go on: piece ${pieceNumber}, as a peer gave it, has been handed over, and who read the origin says that it is something else`,
    );
  }
}

/** What is missing of a copy from a checked origin is not to be had with checks: who wants none gets a copy of his own. */
export class CheckUnwanted extends Error {
  override readonly name = "CheckUnwanted";
  readonly code = "ERR_ORIGIN_TLS";
  constructor(cause: unknown) {
    super("Cannot go on with the copy that is here: its origin was checked, and cannot be now", {
      cause,
    });
  }
}

/** A piece that was there a moment ago; whoever fetches it again has it. */
export function pieceMissing(number: number): StorageError {
  return new StorageError(
    "ERR_PIECE_MISSING",
    `Cannot deliver piece ${number}: it is not there any more`,
  );
}

/** What happened to a download that is worth beginning again; undefined for every other failure. */
export function whyAnew(error: unknown): string | undefined {
  const code = codeOf(error);
  if (code === "ERR_ORIGIN_CHANGED") return "the origin changed the file";
  if (error instanceof PeersLied) return "the peers gave another file";
  if (error instanceof CheckUnwanted) return "the origin cannot be checked any more";
  if (error instanceof PieceDenied) return "a peer gave another piece";
  if (!(error instanceof StorageError)) return undefined;
  if (code === "ERR_TASK_GONE") return "the task was deleted";
  if (code === "ERR_PIECE_MISSING") return "a piece of the file is damaged or gone on the disk";
  return undefined;
}

/** What an origin may do for one request, and not for another one. */
const REFUSALS: ReadonlySet<string> = new Set([
  "ERR_ORIGIN_STATUS",
  "ERR_ORIGIN_SUSPENDED",
  "ERR_ORIGIN_TLS",
]);

/** Whether what failed on one request may succeed on another one for the same task. */
export function mayDoBetter(
  own: DownloadRequest,
  failed: DownloadRequest,
  error: unknown,
): boolean {
  const code = codeOf(error);
  if (own === failed) return false;
  if (code === "ERR_NO_SOURCE") return failed.disableBackToSource && !own.disableBackToSource;
  if (!REFUSALS.has(code)) return false;
  return own.origin.url !== failed.origin.url || rightsOf(own) !== rightsOf(failed);
}
