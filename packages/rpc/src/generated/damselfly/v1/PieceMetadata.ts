// Original file: proto/damselfly/v1/piece_transfer.proto


export interface PieceMetadata {
  /**
   * Zero-based.
   */
  'number'?: (number) | undefined;
  /**
   * Bytes from the start of the task.
   */
  'offset'?: (number) | undefined;
  /**
   * Bytes.
   */
  'length'?: (number) | undefined;
  /**
   * `<algorithm>:<value>`; CRC-32 is decimal.
   */
  'digest'?: (string) | undefined;
  /**
   * A second one, `sha256:` and 64 hex digits; empty: none.
   */
  'strongDigest'?: (string) | undefined;
}

export interface PieceMetadata__Output {
  /**
   * Zero-based.
   */
  'number': (number);
  /**
   * Bytes from the start of the task.
   */
  'offset': (number);
  /**
   * Bytes.
   */
  'length': (number);
  /**
   * `<algorithm>:<value>`; CRC-32 is decimal.
   */
  'digest': (string);
  /**
   * A second one, `sha256:` and 64 hex digits; empty: none.
   */
  'strongDigest': (string);
}
