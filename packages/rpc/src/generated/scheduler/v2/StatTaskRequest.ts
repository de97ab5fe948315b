// Original file: proto/scheduler/v2/scheduler.proto


export interface StatTaskRequest {
  'hostId'?: (string) | undefined;
  'taskId'?: (string) | undefined;
}

export interface StatTaskRequest__Output {
  'hostId': (string);
  'taskId': (string);
}
