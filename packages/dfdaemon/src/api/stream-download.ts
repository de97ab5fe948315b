import type { DownloadTaskRequest__Output, DownloadTaskResponse } from "@damselfly/rpc";
import type { PieceRecord, StoredTask } from "@damselfly/storage";
import { encodePiece } from "../piece-message.ts";
import type { TaskManager } from "../tasks/task-manager.ts";
import { decodeDownload } from "./decode-download.ts";

/**
 * Answers a DownloadTask call: what is coming first, then each piece as it is on disk, in any order. A task whose origin changed under
 * it says once more what is coming; what was said before is void then.
 */
export async function* streamDownload(
  manager: TaskManager,
  request: DownloadTaskRequest__Output,
  options: {
    readonly hostId: string;
    readonly signal: AbortSignal;
    readonly outputAllowed: boolean;
  },
): AsyncGenerator<DownloadTaskResponse, void, undefined> {
  const download = decodeDownload(request.download, options);
  let identity = { hostId: options.hostId, taskId: download.taskId, peerId: "" };
  let task: StoredTask | undefined;
  for await (const event of manager.download(download, options.signal)) {
    if (event.kind === "started") {
      task = event.task;
      identity = { ...identity, peerId: event.peerId };
      const { range, pieceNumbers, finished } = event;
      const started = {
        contentLength: task.facts.contentLength,
        ...(range === undefined ? {} : { range: { start: range.offset, length: range.length } }),
        responseHeader: { ...task.facts.responseHeader },
        pieces: pieceNumbers.map((number) => ({ number, ...event.task.bounds(number) })),
        isFinished: finished,
      };
      yield { ...identity, downloadTaskStartedResponse: started };
      continue;
    }
    const piece = encodePiece(event.piece);
    const content =
      download.needPieceContent && task !== undefined
        ? { content: await readPiece(task, event.piece) }
        : {};
    yield { ...identity, downloadPieceFinishedResponse: { piece: { ...piece, ...content } } };
  }
}

async function readPiece(task: StoredTask, piece: PieceRecord): Promise<Uint8Array> {
  const content = Buffer.allocUnsafeSlow(piece.length);
  let length = 0;
  for await (const chunk of task.read(piece)) {
    content.set(chunk, length);
    length += chunk.byteLength;
  }
  return content;
}
