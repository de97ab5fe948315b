// Original file: proto/damselfly/v1/cache.proto


export interface CacheState {
  /**
   * All files of the cache.
   */
  'bytes'?: (number) | undefined;
  /**
   * Still to come for running downloads.
   */
  'reservedBytes'?: (number) | undefined;
  /**
   * What the cache may take; 0: as the disk has.
   */
  'quotaBytes'?: (number) | undefined;
  'diskBytes'?: (number) | undefined;
  'diskFreeBytes'?: (number) | undefined;
  /**
   * Of the quota, or of the disk: from the first on tasks are evicted, down to the second.
   */
  'highPercent'?: (number) | undefined;
  'lowPercent'?: (number) | undefined;
  /**
   * Seconds after which a task that nobody uses is evicted.
   */
  'ttlSeconds'?: (number) | undefined;
}

export interface CacheState__Output {
  /**
   * All files of the cache.
   */
  'bytes': (number);
  /**
   * Still to come for running downloads.
   */
  'reservedBytes': (number);
  /**
   * What the cache may take; 0: as the disk has.
   */
  'quotaBytes': (number);
  'diskBytes': (number);
  'diskFreeBytes': (number);
  /**
   * Of the quota, or of the disk: from the first on tasks are evicted, down to the second.
   */
  'highPercent': (number);
  'lowPercent': (number);
  /**
   * Seconds after which a task that nobody uses is evicted.
   */
  'ttlSeconds': (number);
}
