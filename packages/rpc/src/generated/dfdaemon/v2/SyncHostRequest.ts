// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface SyncHostRequest {
  'hostId'?: (string) | undefined;
  'peerId'?: (string) | undefined;
}

export interface SyncHostRequest__Output {
  'hostId': (string);
  'peerId': (string);
}
