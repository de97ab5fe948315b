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
  parts: { readonly dataPlane: DataPlane; readonly manager: TaskManager; readonly ip: string },
  request: SyncPiecesRequest__Output,
  signal: AbortSignal,
): AsyncGenerator<SyncPiecesResponse, void, undefined> {
  const { dataPlane, manager, ip } = parts;
  const { taskId, interestedPieceNumbers } = request;
  if (interestedPieceNumbers.length > PIECE_COUNT_MAX) {
    throw status(
      "INVALID_ARGUMENT",
      `Cannot sync pieces: ${interestedPieceNumbers.length} are asked for, the limit is ${PIECE_COUNT_MAX}`,
    );
  }
  const task = await dataPlane.storage.openTask(taskId);
  if (task === undefined) throw status("INTERNAL", `task ${taskId} not found`);
  const extension = {
    version: 1,
    transports: dataPlane.offers.map(({ protocol, ports, tls }) => ({
      protocol,
      ports: [...ports],
      tls,
    })),
    contentVersion: task.facts.contentVersion,
  };
  let introduced = false;
  if (request.extension !== null) {
    yield { ip, extension };
    introduced = true;
  }
  const wanted = interestedPieceNumbers.filter((number) => number < task.pieceCount);
  const leave = manager.attend(taskId);
  // Without a download under way no more will come than what is here.
  const coming = manager.endOf(taskId) ?? Promise.resolve(undefined);
  try {
    for await (const { piece } of followPieces(task, wanted, coming, signal)) {
      const { number, offset, length } = piece;
      yield { number, offset, length, ip, ...(introduced ? {} : { extension }) };
      introduced = true;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw status("INTERNAL", `Cannot sync pieces: the download here failed: ${messageOf(error)}`);
  } finally {
    leave();
  }
}
