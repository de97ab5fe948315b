import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import {
  durationFromMs,
  timestampFromDate,
  type AnnouncePeerResponse__Output,
  type DownloadPieceBackToSourceFailedRequest,
  type Peer,
  type Peer__Output,
  type RegisterPeerRequest,
} from "@damselfly/rpc";
import { messageOf } from "../message-of.ts";
import { OriginError } from "../origins/origin-error.ts";
import type { PieceDigests } from "../piece-digests.ts";
import type { CandidateParent, PeerRegistration, ScheduleEvent } from "./scheduler-link.ts";

/** More parents than one download can use: what a scheduler names beyond them is not looked at. */
const CANDIDATES_MAX = 64;
/** Characters of an id or a hostname; Dragonfly's have some hundred. */
const NAME_LENGTH_MAX = 1_024;
/** What Dragonfly's scheduler accepts in a message; others it answers with INVALID_ARGUMENT and ends the stream. */
const PIECE_LENGTHS = { min: 4 << 20, max: 64 << 20 };
const PORTS = { min: 1_024, max: 65_534 };

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
      ...(requestedPieceLength === undefined || !isWithin(requestedPieceLength, PIECE_LENGTHS)
        ? {}
        : { pieceLength: requestedPieceLength }),
      contentForCalculatingTaskId: registration.contentForCalculatingTaskId,
      enableTaskIdBasedBlobDigest: registration.enableTaskIdBasedBlobDigest === true,
      schedulingPolicy: registration.schedulingPolicy,
      certificateChain: encodeCertificates(registration.caCert),
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

/** DER, one by one, as Dragonfly's seeds read them. */
function encodeCertificates(pem: string | undefined): Uint8Array[] {
  const blocks = pem?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).raw);
}

function isWithin(value: number, range: { readonly min: number; readonly max: number }): boolean {
  return value >= range.min && value <= range.max;
}

/** Whether a scheduler takes this parent in a message. */
export function isEchoable(parent: CandidateParent): boolean {
  return isWithin(parent.port, PORTS);
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

/** Why the origin could not be read, with its own answer if it gave one. */
export function encodeOriginFailure(
  pieceNumber: number | undefined,
  error: Error,
): DownloadPieceBackToSourceFailedRequest {
  const piece = pieceNumber === undefined ? {} : { pieceNumber };
  const message = messageOf(error);
  if (!(error instanceof OriginError)) return { ...piece, unknown: { message } };
  const { statusCode, responseHeader } = error;
  return {
    ...piece,
    backend: {
      message,
      header: { ...responseHeader },
      ...(statusCode === undefined ? {} : { statusCode }),
    },
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
    const named = response.normalTaskResponse.candidateParents.slice(0, CANDIDATES_MAX);
    const parents = named.map(decodeCandidate);
    return { kind: "parents", parents: parents.filter((parent) => parent !== undefined) };
  }
  return undefined;
}

function decodeCandidate(peer: Peer__Output): CandidateParent | undefined {
  const { host, task } = peer;
  if (host === null || isIP(host.ip) === 0 || host.port < 1 || host.port > 65_535) return undefined;
  for (const name of [peer.id, host.id, host.hostname])
    if (name === "" || name.length > NAME_LENGTH_MAX) return undefined;
  const digests = new Map<number, PieceDigests>();
  for (const { number, digest, strongDigest } of task?.pieces ?? [])
    if (digest !== "") digests.set(number, { digest, ...(strongDigest && { strongDigest }) });
  return {
    peerId: peer.id,
    hostId: host.id,
    hostname: host.hostname,
    ip: host.ip,
    port: host.port,
    digests,
  };
}
