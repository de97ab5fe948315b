import { durationFromMs, timestampFromDate, type Piece } from "@damselfly/rpc";
import type { PieceRecord } from "@damselfly/storage";

/** A piece in common.v2's words. Schedulers refuse one without cost and creation time. */
export function encodePiece(piece: PieceRecord): Piece {
  return {
    number: piece.number,
    ...(piece.parentId === "" ? {} : { parentId: piece.parentId }),
    offset: piece.offset,
    length: piece.length,
    digest: piece.digest,
    ...(piece.strongDigest && { strongDigest: piece.strongDigest }),
    trafficType: piece.trafficType,
    cost: durationFromMs(piece.costMs),
    createdAt: timestampFromDate(new Date(piece.createdAtMs)),
  };
}
