// Original file: proto/scheduler/v2/scheduler.proto


/**
 * The peer has everything, some of it from the origin.
 */
export interface DownloadPeerBackToSourceFinishedRequest {
}

/**
 * The peer has everything, some of it from the origin.
 */
export interface DownloadPeerBackToSourceFinishedRequest__Output {
}
