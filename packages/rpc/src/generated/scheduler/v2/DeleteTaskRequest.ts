// Original file: proto/scheduler/v2/scheduler.proto


export interface DeleteTaskRequest {
  'hostId'?: (string) | undefined;
  'taskId'?: (string) | undefined;
}

export interface DeleteTaskRequest__Output {
  'hostId': (string);
  'taskId': (string);
}
