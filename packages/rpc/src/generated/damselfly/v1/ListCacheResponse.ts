// Original file: proto/damselfly/v1/cache.proto

import type { CachedTask as _damselfly_v1_CachedTask, CachedTask__Output as _damselfly_v1_CachedTask__Output } from '../../damselfly/v1/CachedTask.ts';
import type { CacheState as _damselfly_v1_CacheState, CacheState__Output as _damselfly_v1_CacheState__Output } from '../../damselfly/v1/CacheState.ts';

export interface ListCacheResponse {
  'tasks'?: (_damselfly_v1_CachedTask)[] | undefined;
  'state'?: (_damselfly_v1_CacheState | null) | undefined;
}

export interface ListCacheResponse__Output {
  'tasks': (_damselfly_v1_CachedTask__Output)[];
  'state': (_damselfly_v1_CacheState__Output | null);
}
