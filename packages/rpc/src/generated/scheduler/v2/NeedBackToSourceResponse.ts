// Original file: proto/scheduler/v2/scheduler.proto

import type { SchedulerExtension as _damselfly_v1_SchedulerExtension, SchedulerExtension__Output as _damselfly_v1_SchedulerExtension__Output } from '../../damselfly/v1/SchedulerExtension.ts';

/**
 * Go to the origin.
 */
export interface NeedBackToSourceResponse {
  'description'?: (string) | undefined;
  /**
   * Present: from Damselfly's scheduler.
   */
  'extension'?: (_damselfly_v1_SchedulerExtension | null) | undefined;
}

/**
 * Go to the origin.
 */
export interface NeedBackToSourceResponse__Output {
  'description'?: (string);
  /**
   * Present: from Damselfly's scheduler.
   */
  'extension': (_damselfly_v1_SchedulerExtension__Output | null);
  '_description'?: "description";
}
