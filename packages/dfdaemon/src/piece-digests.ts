import type { PieceInfo } from "@damselfly/transport";

/** What somebody says the bytes of a piece are. */
export type PieceDigests = Pick<PieceInfo, "digest" | "strongDigest">;

/** Whether two say that a piece is different things. Digests of different algorithms do not contradict each other. */
export function contradict(one: PieceDigests, other: PieceDigests): boolean {
  return (
    differ(one.digest, other.digest) ||
    (one.strongDigest !== undefined &&
      other.strongDigest !== undefined &&
      differ(one.strongDigest, other.strongDigest))
  );
}

function differ(one: string, other: string): boolean {
  return one !== other && algorithmOf(one) === algorithmOf(other);
}

function algorithmOf(digest: string): string {
  return digest.slice(0, digest.indexOf(":"));
}
