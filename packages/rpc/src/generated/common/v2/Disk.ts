// Original file: proto/common/v2/common.proto

import type { CgroupDisk as _common_v2_CgroupDisk, CgroupDisk__Output as _common_v2_CgroupDisk__Output } from '../../common/v2/CgroupDisk.ts';

export interface Disk {
  'total'?: (number) | undefined;
  'free'?: (number) | undefined;
  'used'?: (number) | undefined;
  'usedPercent'?: (number | string) | undefined;
  'inodesTotal'?: (number) | undefined;
  'inodesUsed'?: (number) | undefined;
  'inodesFree'?: (number) | undefined;
  'inodesUsedPercent'?: (number | string) | undefined;
  'readBandwidth'?: (number) | undefined;
  'writeBandwidth'?: (number) | undefined;
  'cgroup'?: (_common_v2_CgroupDisk | null) | undefined;
}

export interface Disk__Output {
  'total': (number);
  'free': (number);
  'used': (number);
  'usedPercent': (number);
  'inodesTotal': (number);
  'inodesUsed': (number);
  'inodesFree': (number);
  'inodesUsedPercent': (number);
  'readBandwidth': (number);
  'writeBandwidth': (number);
  'cgroup'?: (_common_v2_CgroupDisk__Output | null);
  '_cgroup'?: "cgroup";
}
