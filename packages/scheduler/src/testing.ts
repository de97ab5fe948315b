import type { AnnouncePeerRequest__Output } from "@damselfly/rpc";
import { SchedulerError } from "./errors.ts";
import { assertCandidate, assertDownload, assertId, assertPiece } from "./validate.ts";

/**
 * The rules of Dragonfly's scheduler for tests of those who talk to one. Exported as "@damselfly/scheduler/testing".
 */
export { assertAnnouncement } from "./validate.ts";

/** @throws {SchedulerError} `ERR_INVALID_MESSAGE` if Dragonfly's scheduler would end the stream over this message */
export function assertPeerRequest(message: AnnouncePeerRequest__Output): void {
  assertId(message.hostId, "host_id");
  assertId(message.taskId, "task_id");
  assertId(message.peerId, "peer_id");
  switch (message.request) {
    case undefined:
      throw new SchedulerError("ERR_INVALID_MESSAGE", "invalid message: request is missing");
    case "registerPeerRequest":
      assertDownload(message.registerPeerRequest?.download ?? null);
      return;
    case "downloadPieceFinishedRequest":
      assertPiece(message.downloadPieceFinishedRequest?.piece ?? null);
      return;
    case "downloadPieceBackToSourceFinishedRequest":
      assertPiece(message.downloadPieceBackToSourceFinishedRequest?.piece ?? null);
      return;
    case "downloadPieceFailedRequest":
      assertId(message.downloadPieceFailedRequest?.parentId ?? "", "parent_id");
      return;
    case "reschedulePeerRequest":
      for (const parent of message.reschedulePeerRequest?.candidateParents ?? [])
        assertCandidate(parent);
      return;
    case "downloadPeerStartedRequest":
    case "downloadPeerBackToSourceStartedRequest":
    case "downloadPeerFinishedRequest":
    case "downloadPeerBackToSourceFinishedRequest":
    case "downloadPeerFailedRequest":
    case "downloadPeerBackToSourceFailedRequest":
    case "downloadPieceBackToSourceFailedRequest":
      return;
  }
}
