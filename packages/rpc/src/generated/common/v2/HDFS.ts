// Original file: proto/common/v2/common.proto


export interface HDFS {
  'delegationToken'?: (string) | undefined;
}

export interface HDFS__Output {
  'delegationToken'?: (string);
  '_delegationToken'?: "delegationToken";
}
