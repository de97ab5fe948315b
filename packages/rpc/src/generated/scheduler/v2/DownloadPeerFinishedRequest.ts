// Original file: proto/scheduler/v2/scheduler.proto


/**
 * The peer has everything, from parents.
 */
export interface DownloadPeerFinishedRequest {
}

/**
 * The peer has everything, from parents.
 */
export interface DownloadPeerFinishedRequest__Output {
}
