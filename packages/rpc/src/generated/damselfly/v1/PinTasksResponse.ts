// Original file: proto/damselfly/v1/cache.proto


export interface PinTasksResponse {
  'taskIds'?: (string)[] | undefined;
}

export interface PinTasksResponse__Output {
  'taskIds': (string)[];
}
