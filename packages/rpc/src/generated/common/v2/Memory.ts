// Original file: proto/common/v2/common.proto

import type { CgroupMemory as _common_v2_CgroupMemory, CgroupMemory__Output as _common_v2_CgroupMemory__Output } from '../../common/v2/CgroupMemory.ts';

/**
 * Bytes, but for the percentages.
 */
export interface Memory {
  'total'?: (number) | undefined;
  'available'?: (number) | undefined;
  'used'?: (number) | undefined;
  'usedPercent'?: (number | string) | undefined;
  'processUsedPercent'?: (number | string) | undefined;
  'free'?: (number) | undefined;
  'cgroup'?: (_common_v2_CgroupMemory | null) | undefined;
}

/**
 * Bytes, but for the percentages.
 */
export interface Memory__Output {
  'total': (number);
  'available': (number);
  'used': (number);
  'usedPercent': (number);
  'processUsedPercent': (number);
  'free': (number);
  'cgroup'?: (_common_v2_CgroupMemory__Output | null);
  '_cgroup'?: "cgroup";
}
