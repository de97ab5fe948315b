import { TransportError, type PieceInfo } from "@damselfly/transport";
import type { PieceDigests } from "../piece-digests.ts";

/** What a piece has to be. */
export interface WantedPiece {
  readonly taskId: string;
  readonly number: number;
  /** Of its first byte in the task, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** What the origin's reader said it is, when known. */
  readonly expected?: PieceDigests | undefined;
}

/**
 * Lets pass what a parent announces if it is the piece asked for, with a digest, and the one that the reader of the origin saw.
 *
 * @throws {TransportError} `ERR_PROTOCOL`
 */
export function assertAnnounced(piece: PieceInfo, wanted: WantedPiece, hostId: string): void {
  const { number, offset, length, expected } = wanted;
  if (piece.number !== number || piece.offset !== offset || piece.length !== length) {
    const told = `piece ${piece.number}, ${piece.length} bytes at ${piece.offset}`;
    const asked = `piece ${number}, ${length} bytes at ${offset}`;
    throw refusal(hostId, `it announced ${told}, expected ${asked}`);
  }
  if (piece.digest === "") throw refusal(hostId, `it announced piece ${number} without a digest`);
  if (expected === undefined) return;
  if (piece.digest !== expected.digest) throw lie(piece.digest, expected.digest);
  const { strongDigest } = piece;
  if (strongDigest === undefined || expected.strongDigest === undefined) return;
  if (strongDigest !== expected.strongDigest) throw lie(strongDigest, expected.strongDigest);

  function lie(told: string, known: string): TransportError {
    return refusal(hostId, `it says piece ${number} is ${told}, who read the origin says ${known}`);
  }
}

function refusal(hostId: string, reason: string): TransportError {
  return new TransportError("ERR_PROTOCOL", `Cannot fetch from ${hostId}: ${reason}`);
}
