// Original file: proto/scheduler/v2/scheduler.proto

import type { SchedulerExtension as _damselfly_v1_SchedulerExtension, SchedulerExtension__Output as _damselfly_v1_SchedulerExtension__Output } from '../../damselfly/v1/SchedulerExtension.ts';

/**
 * Dragonfly's schedulers answer with google.protobuf.Empty, and its daemons expect that: for them this is the same.
 */
export interface AnnounceHostResponse {
  /**
   * Present: from Damselfly's scheduler.
   */
  'extension'?: (_damselfly_v1_SchedulerExtension | null) | undefined;
}

/**
 * Dragonfly's schedulers answer with google.protobuf.Empty, and its daemons expect that: for them this is the same.
 */
export interface AnnounceHostResponse__Output {
  /**
   * Present: from Damselfly's scheduler.
   */
  'extension': (_damselfly_v1_SchedulerExtension__Output | null);
}
