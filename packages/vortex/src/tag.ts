/**
 * The tag says what a packet's value holds. Tags that are not listed are reserved.
 *
 * Source: dragonflyoss/vortex-protocol@6dd0549, src/tlv. 64 is this project's own, spoken only between its own peers,
 * in the range that the protocol reserves.
 */
export const Tag = {
  DownloadPiece: 0,
  PieceContent: 1,
  DownloadPersistentPiece: 2,
  PersistentPieceContent: 3,
  DownloadPersistentCachePiece: 4,
  PersistentCachePieceContent: 5,
  DownloadCachePiece: 6,
  CachePieceContent: 7,
  DownloadPieceRange: 64,
  Close: 254,
  Error: 255,
} as const;

/** Asks for a piece; the kinds of task differ in nothing but the tag. */
export type RequestTag =
  | typeof Tag.DownloadPiece
  | typeof Tag.DownloadPersistentPiece
  | typeof Tag.DownloadPersistentCachePiece
  | typeof Tag.DownloadCachePiece;

/** Announces a piece. */
export type ContentTag =
  | typeof Tag.PieceContent
  | typeof Tag.PersistentPieceContent
  | typeof Tag.PersistentCachePieceContent
  | typeof Tag.CachePieceContent;

/** The tag of the answer to a request: its successor. */
export const CONTENT_TAG_OF: Readonly<Record<RequestTag, ContentTag>> = {
  [Tag.DownloadPiece]: Tag.PieceContent,
  [Tag.DownloadPersistentPiece]: Tag.PersistentPieceContent,
  [Tag.DownloadPersistentCachePiece]: Tag.PersistentCachePieceContent,
  [Tag.DownloadCachePiece]: Tag.CachePieceContent,
};

/** What a known tag means for the codec. */
export type TagRow = {
  /** Bounds of the value's length in bytes, checked before any of it is held. */
  readonly lengthMin: number;
  readonly lengthMax: number;
} & (
  | { readonly kind: "request"; readonly tag: RequestTag }
  | { readonly kind: "range-request"; readonly tag: typeof Tag.DownloadPieceRange }
  | { readonly kind: "content"; readonly tag: ContentTag }
  | { readonly kind: "close"; readonly tag: typeof Tag.Close }
  | { readonly kind: "error"; readonly tag: typeof Tag.Error }
);

/** A task id on the wire, in bytes. */
export const TASK_ID_LENGTH = 64;

/** Most bytes after the metadata length field of a content value. Dragonfly's are about 160. */
export const METADATA_LENGTH_MAX: number = 64 * 1024;

/** Most bytes of text in an error value; the encoder cuts longer ones. */
export const ERROR_TEXT_LENGTH_MAX: number = 8 * 1024;

/** Most bytes in a value that is only skipped. */
export const SKIPPED_LENGTH_MAX: number = 64 * 1024;

const REQUEST = { kind: "request", lengthMin: 68, lengthMax: 68 } as const;
const CONTENT = { kind: "content", lengthMin: 49, lengthMax: 4 + METADATA_LENGTH_MAX } as const;

const ROWS: readonly TagRow[] = [
  { tag: Tag.DownloadPiece, ...REQUEST },
  { tag: Tag.PieceContent, ...CONTENT },
  { tag: Tag.DownloadPersistentPiece, ...REQUEST },
  { tag: Tag.PersistentPieceContent, ...CONTENT },
  { tag: Tag.DownloadPersistentCachePiece, ...REQUEST },
  { tag: Tag.PersistentCachePieceContent, ...CONTENT },
  { tag: Tag.DownloadCachePiece, ...REQUEST },
  { tag: Tag.CachePieceContent, ...CONTENT },
  { tag: Tag.DownloadPieceRange, kind: "range-request", lengthMin: 84, lengthMax: 84 },
  { tag: Tag.Close, kind: "close", lengthMin: 0, lengthMax: SKIPPED_LENGTH_MAX },
  { tag: Tag.Error, kind: "error", lengthMin: 1, lengthMax: 1 + ERROR_TEXT_LENGTH_MAX },
];

/** Rows by tag; no row: reserved. */
export const TAG_ROWS: ReadonlyMap<number, TagRow> = new Map(ROWS.map((row) => [row.tag, row]));
