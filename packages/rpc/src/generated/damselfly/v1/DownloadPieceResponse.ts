// Original file: proto/damselfly/v1/piece_transfer.proto

import type { PieceMetadata as _damselfly_v1_PieceMetadata, PieceMetadata__Output as _damselfly_v1_PieceMetadata__Output } from '../../damselfly/v1/PieceMetadata.ts';

export interface DownloadPieceResponse {
  /**
   * The first message, and only that one.
   */
  'metadata'?: (_damselfly_v1_PieceMetadata | null) | undefined;
  /**
   * Every other message; never empty.
   */
  'content'?: (Uint8Array) | undefined;
  'response'?: "metadata"|"content" | undefined;
}

export interface DownloadPieceResponse__Output {
  /**
   * The first message, and only that one.
   */
  'metadata'?: (_damselfly_v1_PieceMetadata__Output | null);
  /**
   * Every other message; never empty.
   */
  'content'?: (Buffer);
  'response'?: "metadata"|"content";
}
