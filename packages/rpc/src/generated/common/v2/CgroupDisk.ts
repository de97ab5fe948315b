// Original file: proto/common/v2/common.proto


export interface CgroupDisk {
  'readBandwidth'?: (number) | undefined;
  'writeBandwidth'?: (number) | undefined;
}

export interface CgroupDisk__Output {
  'readBandwidth': (number);
  'writeBandwidth': (number);
}
