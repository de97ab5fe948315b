// Original file: proto/damselfly/v1/piece_transfer.proto


export interface DownloadPieceRequest {
  /**
   * 64 lower-case hex digits.
   */
  'taskId'?: (string) | undefined;
  /**
   * Zero-based.
   */
  'pieceNumber'?: (number) | undefined;
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
}
