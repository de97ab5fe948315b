// Original file: proto/damselfly/v1/piece_transfer.proto


export interface ByteRange {
  /**
   * Bytes from the start of the piece.
   */
  'offset'?: (number) | undefined;
  /**
   * Bytes, at least 1.
   */
  'length'?: (number) | undefined;
}

export interface ByteRange__Output {
  /**
   * Bytes from the start of the piece.
   */
  'offset': (number);
  /**
   * Bytes, at least 1.
   */
  'length': (number);
}
