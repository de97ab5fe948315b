// Original file: proto/common/v2/common.proto


/**
 * `length` bytes from `start` on.
 */
export interface Range {
  'start'?: (number) | undefined;
  'length'?: (number) | undefined;
}

/**
 * `length` bytes from `start` on.
 */
export interface Range__Output {
  'start': (number);
  'length': (number);
}
