// Original file: proto/scheduler/v2/scheduler.proto


export interface DownloadPeerBackToSourceFailedRequest {
  'description'?: (string) | undefined;
}

export interface DownloadPeerBackToSourceFailedRequest__Output {
  'description'?: (string);
  '_description'?: "description";
}
