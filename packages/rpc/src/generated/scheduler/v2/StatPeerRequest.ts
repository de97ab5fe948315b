// Original file: proto/scheduler/v2/scheduler.proto


export interface StatPeerRequest {
  'hostId'?: (string) | undefined;
  'taskId'?: (string) | undefined;
  'peerId'?: (string) | undefined;
}

export interface StatPeerRequest__Output {
  'hostId': (string);
  'taskId': (string);
  'peerId': (string);
}
