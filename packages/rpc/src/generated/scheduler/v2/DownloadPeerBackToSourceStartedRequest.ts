// Original file: proto/scheduler/v2/scheduler.proto


/**
 * The peer begins to fetch from the origin.
 */
export interface DownloadPeerBackToSourceStartedRequest {
  'description'?: (string) | undefined;
}

/**
 * The peer begins to fetch from the origin.
 */
export interface DownloadPeerBackToSourceStartedRequest__Output {
  'description'?: (string);
  '_description'?: "description";
}
