import {
  durationFromMs,
  timestampFromDate,
  type AnnouncePeerResponse__Output,
  type Peer,
  type Peer__Output,
  type RegisterPeerRequest,
} from "@damselfly/rpc";
import type { CandidateParent, PeerRegistration, ScheduleEvent } from "./scheduler-link.ts";

/** A registration in scheduler.v2's words. Its extension says that we take candidate parents we did not ask for. */
export function encodeRegistration(registration: PeerRegistration): RegisterPeerRequest {
  const { range, digest, requestedPieceLength } = registration;
  return {
    download: {
      url: registration.url,
      ...(digest === undefined ? {} : { digest }),
      ...(range === undefined ? {} : { range: { start: range.offset, length: range.length } }),
      type: "STANDARD",
      tag: registration.tag,
      application: registration.application,
      priority: registration.priority,
      filteredQueryParams: [...registration.filteredQueryParams],
      requestHeader: { ...registration.requestHeader },
      ...(requestedPieceLength === undefined ? {} : { pieceLength: requestedPieceLength }),
      disableBackToSource: registration.disableBackToSource,
      needBackToSource: registration.needBackToSource,
      metadataOnly: registration.metadataOnly === true,
      concurrentPieceCount: registration.concurrentPieceCount,
      actualPieceLength: registration.pieceLength,
      actualContentLength: registration.contentLength,
      actualPieceCount: registration.pieceCount,
    },
    extension: { version: 1, contentVersion: registration.contentVersion },
  };
}

/** A parent echoed to a scheduler, with everything that Dragonfly's validation asks of a Peer. */
export function encodeCandidate(
  parent: CandidateParent,
  task: { readonly taskId: string; readonly url: string },
): Peer {
  const now = timestampFromDate(new Date());
  return {
    id: parent.peerId,
    state: "Running",
    cost: durationFromMs(0),
    task: { id: task.taskId, url: task.url, state: "Running", createdAt: now, updatedAt: now },
    host: {
      id: parent.hostId,
      hostname: parent.hostname,
      ip: parent.ip,
      port: parent.port,
      downloadPort: parent.port,
    },
    createdAt: now,
    updatedAt: now,
  };
}

/** What a scheduler's answer means; `undefined` for one that has no meaning here. */
export function decodeScheduleEvent(
  response: AnnouncePeerResponse__Output,
): ScheduleEvent | undefined {
  if (response.emptyTaskResponse) return { kind: "empty" };
  if (response.metadataOnlyResponse) return { kind: "noted" };
  if (response.needBackToSourceResponse) {
    return {
      kind: "origin",
      reason: response.needBackToSourceResponse.description ?? "the scheduler says so",
      renewable: response.needBackToSourceResponse.extension !== null,
    };
  }
  if (response.normalTaskResponse) {
    const parents = response.normalTaskResponse.candidateParents.map(decodeCandidate);
    return { kind: "parents", parents: parents.filter((parent) => parent !== undefined) };
  }
  return undefined;
}

function decodeCandidate(peer: Peer__Output): CandidateParent | undefined {
  const { host, task } = peer;
  if (host === null || peer.id === "") return undefined;
  const digests = new Map<number, string>();
  for (const piece of task?.pieces ?? [])
    if (piece.digest !== "") digests.set(piece.number, piece.digest);
  return {
    peerId: peer.id,
    hostId: host.id,
    hostname: host.hostname,
    ip: host.ip,
    port: host.port,
    digests,
  };
}
