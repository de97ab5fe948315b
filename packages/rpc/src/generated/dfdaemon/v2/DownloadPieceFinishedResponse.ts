// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { Piece as _common_v2_Piece, Piece__Output as _common_v2_Piece__Output } from '../../common/v2/Piece.ts';

/**
 * Every other response: a piece is on disk and verified.
 */
export interface DownloadPieceFinishedResponse {
  'piece'?: (_common_v2_Piece | null) | undefined;
}

/**
 * Every other response: a piece is on disk and verified.
 */
export interface DownloadPieceFinishedResponse__Output {
  'piece': (_common_v2_Piece__Output | null);
}
