// Original file: proto/damselfly/v1/cache.proto

import type { EvictedTask as _damselfly_v1_EvictedTask, EvictedTask__Output as _damselfly_v1_EvictedTask__Output } from '../../damselfly/v1/EvictedTask.ts';

export interface CollectGarbageResponse {
  'evicted'?: (_damselfly_v1_EvictedTask)[] | undefined;
  /**
   * What there is too little of all the same, the rest being pinned, in use, or not the cache's.
   */
  'shortBytes'?: (number) | undefined;
}

export interface CollectGarbageResponse__Output {
  'evicted': (_damselfly_v1_EvictedTask__Output)[];
  /**
   * What there is too little of all the same, the rest being pinned, in use, or not the cache's.
   */
  'shortBytes': (number);
}
