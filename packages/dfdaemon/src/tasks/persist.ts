import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { PeersLied, whyAnew } from "./begin-anew.ts";
import type { DownloadRequest } from "./download-request.ts";
import type { ToldPieces } from "./told-pieces.ts";

/** How often a task starts anew because its origin changed under it. */
const RESTARTS_MAX = 3;
/**
 * After so many changes it is read in one go: one answer is of one version, also where servers that share a name disagree about the ETag of
 * one file, or HEAD and GET do.
 */
const CHANGES_MAX = 2;

/**
 * Attempts a download again and again, as long as it fails for what is worth beginning anew for. What the attempts yield is handed on.
 *
 * @param options.told what the caller has got of content itself; damage to the rest of it does not void that
 * @throws {DaemonError} `ERR_ORIGIN_UNSTABLE` after too many; the signal's reason; and whatever else an attempt fails with
 */
export async function* persist<Event>(
  asked: DownloadRequest,
  attempt: (request: DownloadRequest) => AsyncGenerator<Event, void, undefined>,
  options: {
    readonly signal: AbortSignal;
    readonly told: ToldPieces | undefined;
    readonly logger: Logger;
  },
): AsyncGenerator<Event, void, undefined> {
  const { signal, told, logger } = options;
  let request: DownloadRequest = { ...asked, askedAtMs: Date.now() };
  let changedCount = 0;
  for (let restarts = 0; ; restarts += 1) {
    try {
      yield* attempt(request);
      return;
    } catch (error) {
      signal.throwIfAborted();
      const reason = whyAnew(error);
      if (reason === undefined) throw error;
      const isDamage = codeOf(error) === "ERR_PIECE_MISSING";
      if (isDamage && told?.takeGrowth()) restarts = 0;
      if (restarts === RESTARTS_MAX) {
        throw new DaemonError(
          "ERR_ORIGIN_UNSTABLE",
          `Cannot download: ${reason} during each of ${RESTARTS_MAX + 1} tries`,
          { cause: error },
        );
      }
      const how =
        isDamage && told !== undefined ? "going on with what is missing" : "starting anew";
      logger.warn({ taskId: request.taskId }, `${reason}: ${how}`);
      if (isDamage) continue;
      if (codeOf(error) === "ERR_ORIGIN_CHANGED") changedCount += 1;
      request = { ...request, revalidate: true, inOneGo: changedCount >= CHANGES_MAX };
      // Whoever gave us the wrong file would give it again.
      if (error instanceof PeersLied) request = { ...request, needBackToSource: true };
    }
  }
}
