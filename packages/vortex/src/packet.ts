import type { ContentTag, RequestTag, Tag } from "./tag.ts";

/** One packet; `kind` says which. */
export type Packet =
  | RequestPacket
  | RangeRequestPacket
  | ContentPacket
  | ClosePacket
  | ErrorPacket
  | ReservedPacket;

interface AnyPacket {
  /** 0 to 255, chosen at random by the sender. Nobody checks it, and an answer does not repeat it. */
  readonly id: number;
}

/**
 * Asks for a piece.
 *
 *     offset  size  field
 *          0    64  task id, text
 *         64     4  piece number, u32
 */
export interface RequestPacket extends AnyPacket {
  readonly kind: "request";
  readonly tag: RequestTag;
  /** 64 bytes of UTF-8; that they are hex digits is not checked. */
  readonly taskId: string;
  readonly pieceNumber: number;
}

/**
 * Asks for some bytes of a piece; the answer announces the piece as a whole, and these bytes follow.
 *
 *     offset  size  field
 *          0    68  as a request
 *         68     8  offset within the piece, u64
 *         76     8  length, u64
 */
export interface RangeRequestPacket extends AnyPacket {
  readonly kind: "range-request";
  readonly tag: typeof Tag.DownloadPieceRange;
  readonly taskId: string;
  readonly pieceNumber: number;
  /** First byte wanted, counted from the start of the piece. */
  readonly offset: number;
  /** How many bytes are wanted. */
  readonly length: number;
}

/**
 * Announces a piece. Its content follows on the same stream, outside of the packet.
 *
 *     size  field
 *        4  metadata length, u32: the bytes after this field
 *        4  piece number, u32
 *        8  offset, u64
 *        8  length, u64
 *        4  digest length d, u32
 *        d  digest, text
 *        4  parent id length p, u32
 *        p  parent id, text
 *        1  traffic type, u8
 *        8  cost, u64
 *        8  created at, i64
 *           bytes up to the metadata length are kept free for later fields, and skipped; this project's own peers put there:
 *        4  mark, the text `DMSL`
 *        1  kind, u8: 1 for SHA-256; others are skipped
 *       32  strong digest
 */
export interface ContentPacket extends AnyPacket {
  readonly kind: "content";
  readonly tag: ContentTag;
  readonly pieceNumber: number;
  /** Position of the piece in its task, in bytes. */
  readonly offset: number;
  /** Content length of the piece, in bytes. */
  readonly length: number;
  /** `<algorithm>:<value>`. */
  readonly digest: string;
  /** A second one, `sha256:` and 64 hex digits; absent: the sender says none. */
  readonly strongDigest?: string;
  /** Where the sender has it from; may be empty. */
  readonly parentId: string;
  /** 0 from the origin, 1 from a remote peer, 2 from a local one. Dragonfly's daemon always says 1. */
  readonly trafficType: number;
  /** What fetching it cost the sender, in whole seconds. */
  readonly costSeconds: number;
  /** Unix time in seconds. */
  readonly createdAtSeconds: number;
}

/** Ends a connection. Its value is skipped. */
export interface ClosePacket extends AnyPacket {
  readonly kind: "close";
  readonly tag: typeof Tag.Close;
}

/**
 * Says why a request fails.
 *
 *     size  field
 *        1  code, u8
 *     rest  message, text, may be empty
 */
export interface ErrorPacket extends AnyPacket {
  readonly kind: "error";
  readonly tag: typeof Tag.Error;
  /** See `ErrorCode`; any other value is reserved. */
  readonly code: number;
  readonly message: string;
}

/** A tag that means nothing here. Its value is skipped. */
export interface ReservedPacket extends AnyPacket {
  readonly kind: "reserved";
  readonly tag: number;
}

/** The codes of error packets. `Busy` is this project's own, in the range that the protocol reserves. */
export const ErrorCode = {
  Unknown: 0,
  InvalidArgument: 1,
  NotFound: 2,
  Internal: 3,
  Busy: 64,
} as const;
