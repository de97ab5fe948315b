import {
  durationFromMs,
  type Peer as PeerMessage,
  type Piece as PieceMessage,
  SizeScope,
  type Task as TaskMessage,
  timestampFromDate,
} from "@damselfly/rpc";
import type { Peer } from "./peer.ts";
import type { PieceFacts, Task } from "./task.ts";

/** A peer as others see it. @param digests what to say about the pieces of its task */
export function describePeer(peer: Peer, digests: readonly PieceFacts[]): PeerMessage {
  const { download } = peer;
  return {
    id: peer.id,
    range: download.range ?? null,
    priority: download.priority,
    cost: durationFromMs(peer.updatedAtMs - peer.createdAtMs),
    state: peer.state,
    task: describeTask(peer.task, digests),
    host: peer.host.facts,
    needBackToSource: download.needBackToSource,
    createdAt: timestampFromDate(new Date(peer.createdAtMs)),
    updatedAt: timestampFromDate(new Date(peer.updatedAtMs)),
    ...(download.concurrentPieceCount === undefined
      ? {}
      : { concurrentPieceCount: download.concurrentPieceCount }),
  };
}

/**
 * A task as others see it. The request header stays here, and so do the user and the query of the URL: they are what
 * whoever registered the task showed the origin to be let in.
 */
export function describeTask(task: Task, digests: readonly PieceFacts[]): TaskMessage {
  const { download } = task;
  return {
    id: task.id,
    type: download.type,
    url: withoutSecrets(download.url),
    ...(download.digest === undefined ? {} : { digest: download.digest }),
    ...(download.tag === undefined ? {} : { tag: download.tag }),
    ...(download.application === undefined ? {} : { application: download.application }),
    filteredQueryParams: download.filteredQueryParams,
    contentLength: task.contentLength ?? 0,
    pieceCount: task.pieceCount ?? 0,
    sizeScope: sizeScope(task),
    pieces: digests.map((facts) => describePiece(task, facts)),
    state: task.state,
    peerCount: task.peers.size,
    hasAvailablePeer: [...task.peers.values()].some((peer) => peer.canServe),
    createdAt: timestampFromDate(new Date(task.createdAtMs)),
    updatedAt: timestampFromDate(new Date(task.updatedAtMs)),
  };
}

function describePiece(task: Task, facts: PieceFacts): PieceMessage {
  // When and how fast it came is nobody's concern, but Dragonfly's messages must say it.
  const createdAt = timestampFromDate(new Date(task.createdAtMs));
  return { ...facts, cost: { seconds: 0, nanos: 0 }, createdAt };
}

/** Bytes; up to here Dragonfly calls a file tiny (scheduler/resource/standard/task.go). */
const TINY_LENGTH_MAX = 128;

function sizeScope(task: Task): SizeScope {
  if (task.contentLength === 0) return SizeScope.EMPTY;
  if (task.contentLength !== undefined && task.contentLength <= TINY_LENGTH_MAX) {
    return SizeScope.TINY;
  }
  return task.pieceCount === 1 ? SizeScope.SMALL : SizeScope.NORMAL;
}

function withoutSecrets(text: string): string {
  const url = new URL(text);
  url.username = "";
  url.password = "";
  url.search = "";
  return url.href;
}
