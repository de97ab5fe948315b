import type { PieceInfo } from "@damselfly/transport";

/** Whether two announcements are of the very same bytes, if both are true. */
export function isSamePiece(one: PieceInfo, other: PieceInfo): boolean {
  const { strongDigest = other.strongDigest } = one;
  return (
    (other.strongDigest ?? strongDigest) === strongDigest &&
    one.number === other.number &&
    one.offset === other.offset &&
    one.length === other.length &&
    one.digest === other.digest
  );
}
