import { TransportError, type PieceInfo } from "@damselfly/transport";
import type { PieceFetch } from "./data-plane.ts";

/**
 * Lets pass what a parent announces if it is the piece asked for, with a digest, and the one that the reader of the origin saw.
 *
 * @throws {TransportError} `ERR_PROTOCOL`
 */
export function assertAnnounced(piece: PieceInfo, fetch: PieceFetch): void {
  const { task, pieceNumber, parent, expectedDigest } = fetch;
  const bounds = task.bounds(pieceNumber);
  if (
    piece.number !== pieceNumber ||
    piece.offset !== bounds.offset ||
    piece.length !== bounds.length
  ) {
    const told = `piece ${piece.number}, ${piece.length} bytes at ${piece.offset}`;
    const wanted = `piece ${pieceNumber}, ${bounds.length} bytes at ${bounds.offset}`;
    throw refusal(parent.hostId, `it announced ${told}, expected ${wanted}`);
  }
  if (piece.digest === "") {
    throw refusal(parent.hostId, `it announced piece ${pieceNumber} without a digest`);
  }
  if (expectedDigest !== undefined && piece.digest !== expectedDigest) {
    throw refusal(
      parent.hostId,
      `it says piece ${pieceNumber} is ${piece.digest}, who read the origin says ${expectedDigest}`,
    );
  }
}

function refusal(hostId: string, reason: string): TransportError {
  return new TransportError("ERR_PROTOCOL", `Cannot fetch from ${hostId}: ${reason}`);
}
