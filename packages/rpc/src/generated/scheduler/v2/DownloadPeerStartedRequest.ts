// Original file: proto/scheduler/v2/scheduler.proto


/**
 * The peer begins to fetch from parents.
 */
export interface DownloadPeerStartedRequest {
}

/**
 * The peer begins to fetch from parents.
 */
export interface DownloadPeerStartedRequest__Output {
}
