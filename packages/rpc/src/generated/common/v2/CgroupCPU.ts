// Original file: proto/common/v2/common.proto


export interface CgroupCPU {
  'period'?: (number) | undefined;
  'quota'?: (number) | undefined;
  'usedPercent'?: (number | string) | undefined;
}

export interface CgroupCPU__Output {
  'period': (number);
  'quota': (number);
  'usedPercent': (number);
}
