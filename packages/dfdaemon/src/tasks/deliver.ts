import type { Storage, StoredTask } from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import { PeersLied, pieceMissing } from "./begin-anew.ts";
import type { ByteRange } from "./byte-range.ts";
import type { DownloadRequest } from "./download-request.ts";
import { findDamaged } from "./find-damaged.ts";

/**
 * The last steps of a download: the digest that its caller named, and the file where he wants it.
 *
 * @param options.sinceMs - when he asked for it, as `performance.now()` has it: what was here before is read from the disk for his digest
 * @throws {StorageError} `ERR_PIECE_MISSING` the digest is another one because the disk has damaged a piece since it came: it is dropped
 * @throws {PeersLied} the digest is another one, and a part of the file came from peers: the task is deleted
 * @throws {StorageError | DaemonError} why it cannot be done; `ERR_DIGEST_MISMATCH` where only the origin can have been wrong
 */
export async function deliver(
  request: DownloadRequest,
  options: {
    readonly task: StoredTask;
    readonly range: ByteRange | undefined;
    readonly storage: Pick<Storage, "deleteTask">;
    readonly sinceMs: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { task, range, storage, sinceMs, signal } = options;
  const { output } = request;
  // A digest is one of the whole file.
  const digest = range === undefined ? request.digest : undefined;
  try {
    if (output !== undefined) {
      await task.output(output.path, {
        overwrite: output.overwrite,
        forceHardLink: output.forceHardLink,
        ...(range === undefined ? {} : { range }),
        ...(digest === undefined ? {} : { digest, sinceMs }),
        signal,
      });
    } else if (digest !== undefined) {
      const actual = await task.digest(digest.slice(0, digest.indexOf(":")), { sinceMs });
      if (actual !== digest) {
        const message = `Cannot deliver the file: its digest is ${actual}, expected ${digest}`;
        throw new DaemonError("ERR_DIGEST_MISMATCH", message);
      }
    }
  } catch (error) {
    if (codeOf(error) !== "ERR_DIGEST_MISMATCH") throw error;
    const damaged = await findDamaged(task);
    if (damaged !== undefined) throw pieceMissing(damaged);
    if (request.needBackToSource) throw error;
    const fromPeers = [...task.pieces.values()].some(({ parentId }) => parentId !== "");
    if (!fromPeers || request.disableBackToSource) throw error;
    // Every piece was what its parent said it was: so a parent lied, or its copy is of another file. The origin decides.
    await storage.deleteTask(task.facts.taskId);
    throw new PeersLied(error);
  }
}
