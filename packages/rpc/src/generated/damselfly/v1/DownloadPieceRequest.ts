// Original file: proto/damselfly/v1/piece_transfer.proto

import type { ByteRange as _damselfly_v1_ByteRange, ByteRange__Output as _damselfly_v1_ByteRange__Output } from '../../damselfly/v1/ByteRange.ts';

export interface DownloadPieceRequest {
  /**
   * 64 lower-case hex digits.
   */
  'taskId'?: (string) | undefined;
  /**
   * Zero-based.
   */
  'pieceNumber'?: (number) | undefined;
  /**
   * Only these bytes of the piece; absent: all of it.
   */
  'range'?: (_damselfly_v1_ByteRange | null) | undefined;
}

export interface DownloadPieceRequest__Output {
  /**
   * 64 lower-case hex digits.
   */
  'taskId': (string);
  /**
   * Zero-based.
   */
  'pieceNumber': (number);
  /**
   * Only these bytes of the piece; absent: all of it.
   */
  'range': (_damselfly_v1_ByteRange__Output | null);
}
