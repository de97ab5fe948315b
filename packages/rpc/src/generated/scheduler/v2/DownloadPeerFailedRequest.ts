// Original file: proto/scheduler/v2/scheduler.proto


export interface DownloadPeerFailedRequest {
  'description'?: (string) | undefined;
}

export interface DownloadPeerFailedRequest__Output {
  'description'?: (string);
  '_description'?: "description";
}
