// Original file: proto/common/v2/common.proto


export interface CgroupMemory {
  'limit'?: (number) | undefined;
  'usage'?: (number) | undefined;
  'usedPercent'?: (number | string) | undefined;
}

export interface CgroupMemory__Output {
  'limit': (number);
  'usage': (number);
  'usedPercent': (number);
}
