import type { Allowance } from "@damselfly/limits";
import { status, type SyncPiecesRequest__Output, type SyncPiecesResponse } from "@damselfly/rpc";
import type { CertificateChain } from "@damselfly/transport";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { messageOf } from "../message-of.ts";
import { followPieces } from "../tasks/follow-pieces.ts";
import { sourceDigestOf } from "../tasks/is-same-source.ts";
import type { TaskManager } from "../tasks/task-manager.ts";
import { joinSignals } from "../join-signals.ts";

/** Pieces that one request may ask for: 64 TiB at 64 MiB each. */
const PIECE_COUNT_MAX = 1 << 20;

/**
 * Tells a child which of the pieces it wants are here, as they come, until all of them are or no more will come, or this daemon is being
 * stopped.
 *
 * A child of our own kind is told at once where to fetch, in a message without bytes; Dragonfly's children would take that for a piece,
 * and are told the TCP port with each piece instead.
 */
export async function* syncPieces(
  parts: {
    readonly dataPlane: DataPlane;
    readonly manager: TaskManager;
    readonly ip: string;
    /** Both sides of this call have shown certificates, or the operator has said that nobody needs any. */
    readonly isTrusted: boolean;
    /** What the child has shown on this call. */
    readonly certificates: CertificateChain;
    /** Pieces are served without TLS. */
    readonly plainPeers: boolean;
    /** How many pieces all children together may wait for. */
    readonly wantedPieces: Allowance;
    /** Aborts when this daemon is being stopped. */
    readonly closing: AbortSignal;
  },
  request: SyncPiecesRequest__Output,
  signal: AbortSignal,
): AsyncGenerator<SyncPiecesResponse, void, undefined> {
  const { dataPlane, manager, ip, isTrusted, certificates, plainPeers } = parts;
  const { wantedPieces, closing } = parts;
  const { hostId, taskId, interestedPieceNumbers } = request;
  const isOurs = request.extension !== null;
  if (!isOurs && !plainPeers) {
    throw status(
      "PERMISSION_DENIED",
      `Cannot serve host '${hostId}': it is one of Dragonfly's, which fetch pieces without TLS, and security.plainPeers is false here`,
    );
  }
  if (interestedPieceNumbers.length > PIECE_COUNT_MAX) {
    throw status(
      "INVALID_ARGUMENT",
      `Cannot sync pieces: ${interestedPieceNumbers.length} are asked for, the limit is ${PIECE_COUNT_MAX}`,
    );
  }
  const task = await dataPlane.storage.openTask(taskId);
  if (task === undefined) throw status("INTERNAL", `task ${taskId} not found`);
  const quinn = isTrusted ? dataPlane.quinn : undefined;
  const extension = {
    version: 1,
    transports: [
      ...dataPlane.offers.map(({ protocol, ports, tls }) => ({ protocol, ports: [...ports], tls })),
      ...(quinn === undefined ? [] : [{ protocol: "quinn", ports: [...quinn.ports], tls: true }]),
    ],
    ...(quinn === undefined ? {} : { quinnKey: quinn.publicKey }),
    contentVersion: task.facts.contentVersion,
    sourceDigest: sourceDigestOf(task.facts),
  };
  const wanted = new Set(interestedPieceNumbers.filter((number) => number < task.pieceCount));
  // The request is kept for as long as the call goes on.
  interestedPieceNumbers.length = 0;
  const wantedCount = wanted.size;
  if (!wantedPieces.take(wantedCount)) {
    throw status(
      "RESOURCE_EXHAUSTED",
      `Cannot sync pieces: peers wait for ${wantedPieces.used} pieces here already`,
    );
  }
  const leave = manager.attend(taskId);
  // Between two pieces of a child's, its parent's copy is in use, too.
  const release = task.retain();
  // Before it hears of our port: it may dial at once.
  const childKey = request.extension?.quinnKey;
  const dismiss = childKey === undefined ? undefined : quinn?.admit(childKey, certificates);
  // Without a download under way no more will come than what is here.
  const coming = manager.endOf(taskId) ?? Promise.resolve(undefined);
  try {
    if (isOurs) yield { ip, extension };
    // No QUIC port: they would dial it, and what they speak there is not what we do.
    const tcpPort = isOurs ? undefined : plainTcpPort(dataPlane);
    using either = joinSignals(signal, closing);
    for await (const { piece } of followPieces(task, wanted, coming, either.signal)) {
      const { number, offset, length } = piece;
      yield { number, offset, length, ip, ...(tcpPort === undefined ? {} : { tcpPort }) };
    }
  } catch (error) {
    signal.throwIfAborted();
    if (closing.aborted) {
      // Others of Dragonfly's find out by themselves.
      if (isOurs) yield { ip, extension: { version: 1, leaving: true } };
      return;
    }
    throw status("INTERNAL", `Cannot sync pieces: the download here failed: ${messageOf(error)}`);
  } finally {
    wantedPieces.giveBack(wantedCount);
    dismiss?.();
    release();
    leave();
  }
}

/** Where it is not known they try our gRPC port. */
function plainTcpPort({ offers }: DataPlane): number | undefined {
  return offers.find(({ protocol }) => protocol === "tcp")?.ports[0];
}
