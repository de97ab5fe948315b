// Original file: proto/manager/v2/manager.proto

import type { SchedulerCluster as _manager_v2_SchedulerCluster, SchedulerCluster__Output as _manager_v2_SchedulerCluster__Output } from '../../manager/v2/SchedulerCluster.ts';

export interface Scheduler {
  'id'?: (number) | undefined;
  /**
   * Its name on the daemons' hash ring.
   */
  'hostname'?: (string) | undefined;
  'idc'?: (string) | undefined;
  'location'?: (string) | undefined;
  'ip'?: (string) | undefined;
  'port'?: (number) | undefined;
  /**
   * `active` or `inactive`.
   */
  'state'?: (string) | undefined;
  'schedulerClusterId'?: (number) | undefined;
  'schedulerCluster'?: (_manager_v2_SchedulerCluster | null) | undefined;
  /**
   * A JSON list of texts.
   */
  'features'?: (Uint8Array) | undefined;
}

export interface Scheduler__Output {
  'id': (number);
  /**
   * Its name on the daemons' hash ring.
   */
  'hostname': (string);
  'idc'?: (string);
  'location'?: (string);
  'ip': (string);
  'port': (number);
  /**
   * `active` or `inactive`.
   */
  'state': (string);
  'schedulerClusterId': (number);
  'schedulerCluster': (_manager_v2_SchedulerCluster__Output | null);
  /**
   * A JSON list of texts.
   */
  'features': (Buffer);
  '_idc'?: "idc";
  '_location'?: "location";
}
