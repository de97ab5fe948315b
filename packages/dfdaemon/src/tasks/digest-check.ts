import type { Storage, StoredTask } from "@damselfly/storage";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { OriginError } from "../origins/origin-error.ts";
import { redactUrl } from "../origins/redact-url.ts";
import { PeersLied, pieceMissing } from "./begin-anew.ts";
import type { DownloadRequest } from "./download-request.ts";
import { findDamaged } from "./find-damaged.ts";

export interface DigestCheckOptions {
  readonly storage: Storage;
  readonly logger: Logger;
  /** Told of each file that was compared. */
  readonly onChecked?: (check: { readonly algorithm: string; readonly isGood: boolean }) => void;
}

/**
 * Compares whole files with what their origins say they are, once for all who wait for one. A file that is sealed has been compared before.
 */
export class DigestCheck {
  readonly #options: DigestCheckOptions;
  /** What was found of tasks that are not, or not yet, known to be good. */
  readonly #verdicts = new WeakMap<StoredTask, Promise<Verdict>>();

  constructor(options: DigestCheckOptions) {
    this.#options = options;
  }

  /** Has what will be compared in the end computed from now on. */
  expect(task: StoredTask, request: DownloadRequest): void {
    const { digest = digestFor(task, request) } = request;
    if (digest !== undefined) task.expectDigest(algorithmOf(digest));
  }

  /**
   * Resolves if the file is what its origin says it is, or if that says nothing that counts more than the request's own digest, or if not all of it is
   * here. A wrong one is removed.
   *
   * @param options.isNews - the origin has not said so before: then also a sealed file is looked at
   * @throws {OriginError} `ERR_ORIGIN_DIGEST`: the origin sent something else than it says
   * @throws {PeersLied} peers gave something else; the origin may do better
   * @throws {DaemonError} `ERR_DIGEST_MISMATCH`: they did, and the origin may not be asked
   * @throws {StorageError} `ERR_PIECE_MISSING`: it was the disk, and the damaged pieces are dropped
   */
  async assertGood(
    task: StoredTask,
    request: DownloadRequest,
    options: { readonly isNews: boolean },
  ): Promise<void> {
    const digest = digestFor(task, request);
    if (digest === undefined || !task.complete) return;
    if (task.sealed && !options.isNews) return;
    const verdict = await this.#judge(task, digest);
    if (verdict.kind === "good") return;
    if (verdict.kind === "damaged") throw pieceMissing(verdict.pieceNumber);
    const { actual, fromPeers } = verdict;
    const difference = `it has ${actual}, expected ${digest} as the origin says`;
    if (!fromPeers) {
      throw new OriginError(
        "ERR_ORIGIN_DIGEST",
        `Cannot deliver ${redactUrl(task.facts.url)}: what the origin sent is not what it says it is: ${difference}`,
      );
    }
    const mismatch = new DaemonError(
      "ERR_DIGEST_MISMATCH",
      `Cannot deliver the file: what the peers gave is not what the origin has: ${difference}`,
    );
    throw request.disableBackToSource ? mismatch : new PeersLied(mismatch);
  }

  async #judge(task: StoredTask, digest: string): Promise<Verdict> {
    let verdict = this.#verdicts.get(task);
    if (verdict === undefined) {
      verdict = this.#compare(task, digest);
      this.#verdicts.set(task, verdict);
      const forget = (): void => void this.#verdicts.delete(task);
      // What is wrong is gone, and remains wrong for all who still hold it.
      verdict.then(({ kind }) => (kind === "wrong" ? undefined : forget()), forget);
    }
    return await verdict;
  }

  async #compare(task: StoredTask, digest: string): Promise<Verdict> {
    const { storage, logger, onChecked } = this.#options;
    const { taskId, url } = task.facts;
    const algorithm = algorithmOf(digest);
    const actual = await task.digest(algorithm);
    if (actual === digest) {
      onChecked?.({ algorithm, isGood: true });
      return { kind: "good" };
    }
    const damaged = await findDamaged(task);
    if (damaged !== undefined) return { kind: "damaged", pieceNumber: damaged };
    onChecked?.({ algorithm, isGood: false });
    const fromPeers = [...task.pieces.values()].some(({ parentId }) => parentId !== "");
    logger.warn(
      { taskId, url: redactUrl(url), expected: digest, actual, fromPeers },
      "the file is not what its origin says it is: removing it",
    );
    await storage.deleteTask(taskId);
    return { kind: "wrong", actual, fromPeers };
  }
}

type Verdict =
  | { readonly kind: "good" }
  /** It was the disk. */
  | { readonly kind: "damaged"; readonly pieceNumber: number }
  | { readonly kind: "wrong"; readonly actual: string; readonly fromPeers: boolean };

/** What the origin says, if that is what counts: a user's own SHA digest of the whole is worth more. */
function digestFor(task: StoredTask, request: DownloadRequest): string | undefined {
  if (
    request.digest !== undefined &&
    request.range === undefined &&
    !request.digest.startsWith("crc32:")
  )
    return undefined;
  return task.facts.contentDigests?.[0];
}

function algorithmOf(digest: string): string {
  return digest.slice(0, digest.indexOf(":"));
}
