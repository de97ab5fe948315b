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
  /** What is found of tasks, or was: of those that are good as long as every piece stays. */
  readonly #comparisons = new WeakMap<StoredTask, Comparison>();

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
    for (;;) {
      const comparison = this.#comparisons.get(task) ?? this.#begin(task, digest);
      const verdict = await comparison.verdict;
      // What is wrong is gone, and remains wrong for all who still hold it.
      if (verdict.kind === "wrong" || comparison.digest === digest) return verdict;
      this.#forget(task, comparison);
    }
  }

  #begin(task: StoredTask, digest: string): Comparison {
    const comparison = { digest, verdict: this.#compare(task, digest) };
    this.#comparisons.set(task, comparison);
    const forget = (): void => this.#forget(task, comparison);
    comparison.verdict.then(({ kind }) => {
      if (kind === "wrong") return;
      if (kind === "damaged" || !task.complete) return forget();
      const stop = task.onChange((change) => {
        if (change.kind !== "withdrawn") return;
        stop();
        forget();
      });
    }, forget);
    return comparison;
  }

  #forget(task: StoredTask, comparison: Comparison): void {
    if (this.#comparisons.get(task) === comparison) this.#comparisons.delete(task);
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

/** Of a whole file with the digest that its origin says it has. */
interface Comparison {
  readonly digest: string;
  readonly verdict: Promise<Verdict>;
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
