// Original file: proto/damselfly/v1/cache.proto


export interface RemoveTasksResponse {
  'taskIds'?: (string)[] | undefined;
}

export interface RemoveTasksResponse__Output {
  'taskIds': (string)[];
}
