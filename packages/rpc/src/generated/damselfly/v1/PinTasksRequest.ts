// Original file: proto/damselfly/v1/cache.proto


export interface PinTasksRequest {
  /**
   * Each a task id, the first digits of one (at least four), or the URL it was read from.
   */
  'tasks'?: (string)[] | undefined;
  /**
   * False: unpin.
   */
  'pinned'?: (boolean) | undefined;
}

export interface PinTasksRequest__Output {
  /**
   * Each a task id, the first digits of one (at least four), or the URL it was read from.
   */
  'tasks': (string)[];
  /**
   * False: unpin.
   */
  'pinned': (boolean);
}
