import { status, type SyncPiecesRequest__Output, type SyncPiecesResponse } from "@damselfly/rpc";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { messageOf } from "../message-of.ts";
import { followPieces } from "../tasks/follow-pieces.ts";
import type { TaskManager } from "../tasks/task-manager.ts";

/** Pieces that one request may ask for: 64 TiB at 64 MiB each. */
const PIECE_COUNT_MAX = 1 << 20;

/**
 * Tells a child which of the pieces it wants are here, as they come, until all of them are or no more will come.
 *
 * A child of our own kind is told at once where to fetch, in a message without bytes; Dragonfly's children would take that for a piece.
 */
export async function* syncPieces(
  parts: {
    readonly dataPlane: DataPlane;
    readonly manager: TaskManager;
    readonly ip: string;
    /** Both sides of this call have shown certificates, or the operator has said that nobody needs any. */
    readonly isTrusted: boolean;
  },
  request: SyncPiecesRequest__Output,
  signal: AbortSignal,
): AsyncGenerator<SyncPiecesResponse, void, undefined> {
  const { dataPlane, manager, ip, isTrusted } = parts;
  const { taskId, interestedPieceNumbers } = request;
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
      ...(quinn === undefined ? [] : [{ protocol: "quinn", ports: [quinn.port], tls: true }]),
    ],
    ...(quinn === undefined ? {} : { quinnKey: quinn.publicKey }),
    contentVersion: task.facts.contentVersion,
  };
  const wanted = interestedPieceNumbers.filter((number) => number < task.pieceCount);
  const leave = manager.attend(taskId);
  // Before it hears of our port: it may dial at once.
  const childKey = request.extension?.quinnKey;
  const dismiss = childKey === undefined ? undefined : quinn?.admit(childKey);
  // Without a download under way no more will come than what is here.
  const coming = manager.endOf(taskId) ?? Promise.resolve(undefined);
  let introduced = false;
  try {
    if (request.extension !== null) {
      yield { ip, extension };
      introduced = true;
    }
    for await (const { piece } of followPieces(task, wanted, coming, signal)) {
      const { number, offset, length } = piece;
      yield { number, offset, length, ip, ...(introduced ? {} : { extension }) };
      introduced = true;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw status("INTERNAL", `Cannot sync pieces: the download here failed: ${messageOf(error)}`);
  } finally {
    dismiss?.();
    leave();
  }
}
