// Original file: proto/scheduler/v2/scheduler.proto


export interface ListHostsRequest {
  /**
   * Only hosts of this type; absent: all.
   */
  'type'?: (number) | undefined;
}

export interface ListHostsRequest__Output {
  /**
   * Only hosts of this type; absent: all.
   */
  'type'?: (number);
  '_type'?: "type";
}
