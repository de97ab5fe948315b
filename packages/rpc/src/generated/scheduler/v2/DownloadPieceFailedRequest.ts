// Original file: proto/scheduler/v2/scheduler.proto


export interface DownloadPieceFailedRequest {
  'pieceNumber'?: (number) | undefined;
  'parentId'?: (string) | undefined;
  /**
   * True: the parent may do better later.
   */
  'temporary'?: (boolean) | undefined;
}

export interface DownloadPieceFailedRequest__Output {
  'pieceNumber'?: (number);
  'parentId': (string);
  /**
   * True: the parent may do better later.
   */
  'temporary': (boolean);
  '_pieceNumber'?: "pieceNumber";
}
