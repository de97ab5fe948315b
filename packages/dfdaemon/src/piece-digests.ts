import type { PieceInfo } from "@damselfly/transport";

/** What somebody says the bytes of a piece are. */
export type PieceDigests = Pick<PieceInfo, "digest" | "strongDigest">;
