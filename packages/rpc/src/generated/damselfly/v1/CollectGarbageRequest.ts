// Original file: proto/damselfly/v1/cache.proto


export interface CollectGarbageRequest {
  /**
   * True: say what would be evicted, and do nothing.
   */
  'dryRun'?: (boolean) | undefined;
}

export interface CollectGarbageRequest__Output {
  /**
   * True: say what would be evicted, and do nothing.
   */
  'dryRun': (boolean);
}
