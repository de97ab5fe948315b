// Original file: proto/damselfly/v1/cache.proto


export interface EvictedTask {
  'taskId'?: (string) | undefined;
  'bytes'?: (number) | undefined;
  'freeableBytes'?: (number) | undefined;
  /**
   * `expired` or `room`.
   */
  'reason'?: (string) | undefined;
}

export interface EvictedTask__Output {
  'taskId': (string);
  'bytes': (number);
  'freeableBytes': (number);
  /**
   * `expired` or `room`.
   */
  'reason': (string);
}
