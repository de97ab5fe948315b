// Original file: proto/manager/v2/manager.proto

import type { Scheduler as _manager_v2_Scheduler, Scheduler__Output as _manager_v2_Scheduler__Output } from '../../manager/v2/Scheduler.ts';

export interface ListSchedulersResponse {
  'schedulers'?: (_manager_v2_Scheduler)[] | undefined;
}

export interface ListSchedulersResponse__Output {
  'schedulers': (_manager_v2_Scheduler__Output)[];
}
