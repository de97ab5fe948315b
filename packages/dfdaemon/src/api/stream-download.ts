import {
  status,
  type DownloadTaskRequest__Output,
  type DownloadTaskResponse,
} from "@damselfly/rpc";
import { TIMER_MS_MAX } from "@damselfly/settings";
import type { StoredTask } from "@damselfly/storage";
import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import { encodePiece } from "../piece-message.ts";
import { steadyNow } from "../steady-now.ts";
import { PieceDenied } from "../tasks/begin-anew.ts";
import { DownloadCall } from "../tasks/download-call.ts";
import type { PrefetchObserver, TaskManager } from "../tasks/task-manager.ts";
import { ToldPieces } from "../tasks/told-pieces.ts";
import { toError } from "../to-error.ts";
import { decodeDownload, type DecodedDownload } from "./decode-download.ts";
import { leaveSomethingToRemove } from "./leave-something-to-remove.ts";
import type { LocalContent } from "./local-content.ts";
import { withWaits } from "./with-waits.ts";

export interface StreamDownloadOptions {
  readonly hostId: string;
  readonly signal: AbortSignal;
  readonly outputAllowed: boolean;
  /** The caller is written in Rust, as Dragonfly's dfget is. */
  readonly isTonic: boolean;
  /** It is our dfget, which understands what is waited for. */
  readonly isOurs: boolean;
  /** Where pieces are kept for a caller that wants their content. */
  readonly localContent: LocalContent;
  /** Resolves when the caller has taken all that it was sent, or has left. */
  readonly taken: () => Promise<void>;
  readonly prefetchObserver?: PrefetchObserver;
}

/**
 * Answers a DownloadTask call: what is coming first, then each piece as it is on disk, in any order. A task whose origin changed under
 * it says once more what is coming; what was said before is void then.
 */
export async function* streamDownload(
  manager: Pick<TaskManager, "download" | "prefetch">,
  request: DownloadTaskRequest__Output,
  options: StreamDownloadOptions,
): AsyncGenerator<DownloadTaskResponse, void, undefined> {
  const download = decodeDownload(request.download, options);
  const { timeoutMs } = download;
  const deadline = new AbortController();
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => deadline.abort(lateBy(timeoutMs)), Math.min(timeoutMs, TIMER_MS_MAX));
  const signal = AbortSignal.any([options.signal, deadline.signal]);
  let hasStarted = false;
  try {
    for await (const response of respond(manager, download, { ...options, signal })) {
      hasStarted ||= response.wait === undefined;
      yield response;
    }
  } catch (error) {
    if (hasStarted && options.isTonic && !options.signal.aborted)
      await leaveSomethingToRemove(download.output?.path);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function* respond(
  manager: Pick<TaskManager, "download" | "prefetch">,
  download: DecodedDownload,
  { hostId, signal, isOurs, localContent, taken, prefetchObserver }: StreamDownloadOptions,
): AsyncGenerator<DownloadTaskResponse, void, undefined> {
  let identity = { hostId, taskId: download.taskId, peerId: "" };
  let task: StoredTask | undefined;
  using contents = localContent.openCall(taken);
  const told = download.needPieceContent ? new ToldPieces() : undefined;
  const call = new DownloadCall(steadyNow, told);
  const left = new AbortController();
  using watched = new DenialWatch(told);
  const events = manager.download(download, AbortSignal.any([signal, left.signal]), call);
  const onLeave = (): void => left.abort(signal.reason ?? nobodyWaits());
  for await (const event of isOurs ? withWaits(events, call, { onLeave }) : events) {
    if (event.kind === "wait") {
      yield { ...identity, wait: event.wait };
      continue;
    }
    if (event.kind === "started") {
      task = event.task;
      watched.follow(task);
      identity = { ...identity, peerId: event.peerId };
      const { range, pieceNumbers } = event;
      const started = {
        contentLength: task.facts.contentLength,
        ...(range === undefined ? {} : { range: { start: range.offset, length: range.length } }),
        responseHeader: { ...task.facts.responseHeader },
        pieces: pieceNumbers.map((number) => ({ number, ...event.task.bounds(number) })),
        isFinished: task.complete,
        ...(isOurs ? { extension: { atomicOutput: true } } : {}),
      };
      yield { ...identity, downloadTaskStartedResponse: started };
      if (download.prefetch && !task.complete) manager.prefetch(download, prefetchObserver);
      continue;
    }
    const piece = encodePiece(event.piece);
    if (told === undefined || task === undefined) {
      yield { ...identity, downloadPieceFinishedResponse: { piece } };
      continue;
    }
    let content: Uint8Array;
    try {
      content = await contents.read(task, event.piece, signal);
    } catch (error) {
      // Found damaged just now, by us or by somebody else: the download has it fetched again when it goes on.
      if (codeOf(error) === "ERR_PIECE_MISSING" && told.lose(event.piece.number)) continue;
      if (codeOf(error) !== "ERR_TASK_GONE") throw error;
      // Deleted, or of a version that the origin does not have any more: the download knows why, and begins anew if that is worth it.
      told.end(toError(error));
      continue;
    }
    yield { ...identity, downloadPieceFinishedResponse: { piece: { ...piece, content } } };
  }
}

/** Whoever is given content itself keeps it: what turns out to be something else than the file's is to be given anew, all of it. */
class DenialWatch implements Disposable {
  readonly #told: ToldPieces | undefined;
  #stop: (() => void) | undefined;

  constructor(told: ToldPieces | undefined) {
    this.#told = told;
  }

  follow(task: StoredTask): void {
    this[Symbol.dispose]();
    const told = this.#told;
    if (told === undefined) return;
    this.#stop = task.onChange((change) => {
      if (change.kind !== "withdrawn" || !change.isDenied || !told.has(change.pieceNumber)) return;
      told.revoke(new PieceDenied(change.pieceNumber));
    });
  }

  [Symbol.dispose](): void {
    this.#stop?.();
    this.#stop = undefined;
  }
}

function nobodyWaits(): Error {
  return new DaemonError("ERR_CLOSED", "Cannot go on: nobody waits for it any more");
}

function lateBy(timeoutMs: number): Error {
  return status("DEADLINE_EXCEEDED", `the download has taken longer than ${timeoutMs / 1000} s`);
}
