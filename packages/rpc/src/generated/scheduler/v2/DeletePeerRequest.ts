// Original file: proto/scheduler/v2/scheduler.proto


export interface DeletePeerRequest {
  'hostId'?: (string) | undefined;
  'taskId'?: (string) | undefined;
  'peerId'?: (string) | undefined;
}

export interface DeletePeerRequest__Output {
  'hostId': (string);
  'taskId': (string);
  'peerId': (string);
}
