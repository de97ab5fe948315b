// Original file: proto/scheduler/v2/scheduler.proto

import type { Piece as _common_v2_Piece, Piece__Output as _common_v2_Piece__Output } from '../../common/v2/Piece.ts';

/**
 * `piece.cost` and `piece.created_at` must be there.
 */
export interface DownloadPieceFinishedRequest {
  'piece'?: (_common_v2_Piece | null) | undefined;
}

/**
 * `piece.cost` and `piece.created_at` must be there.
 */
export interface DownloadPieceFinishedRequest__Output {
  'piece': (_common_v2_Piece__Output | null);
}
