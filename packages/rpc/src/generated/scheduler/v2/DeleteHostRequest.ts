// Original file: proto/scheduler/v2/scheduler.proto


export interface DeleteHostRequest {
  'hostId'?: (string) | undefined;
}

export interface DeleteHostRequest__Output {
  'hostId': (string);
}
