import type { StoredTask } from "@damselfly/storage";
import type { PeerRegistration } from "../scheduling/scheduler-link.ts";
import type { DownloadRequest } from "./download-request.ts";

/** What a scheduler is told of a download. */
export function registrationOf(
  request: DownloadRequest,
  task: StoredTask,
  peerId: string,
  concurrentPieceCount: number,
): PeerRegistration {
  const { facts } = task;
  const range = request.range?.(facts.contentLength);
  return {
    taskId: facts.taskId,
    peerId,
    contentVersion: facts.contentVersion,
    ...(range === undefined ? {} : { range }),
    url: request.origin.url,
    ...(request.digest === undefined ? {} : { digest: request.digest }),
    tag: request.tag,
    application: request.application,
    priority: request.priority,
    filteredQueryParams: request.filteredQueryParams,
    ...(request.contentForCalculatingTaskId === undefined
      ? {}
      : { contentForCalculatingTaskId: request.contentForCalculatingTaskId }),
    enableTaskIdBasedBlobDigest: request.enableTaskIdBasedBlobDigest === true,
    schedulingPolicy: request.schedulingPolicy,
    ...(request.origin.caCert === undefined ? {} : { caCert: request.origin.caCert }),
    ...(request.pieceLength === undefined ? {} : { requestedPieceLength: request.pieceLength }),
    contentLength: facts.contentLength,
    pieceLength: facts.pieceLength,
    pieceCount: task.pieceCount,
    concurrentPieceCount,
    needBackToSource: request.needBackToSource,
    disableBackToSource: request.disableBackToSource,
    requestHeader: request.origin.header,
  };
}
