// Original file: proto/dfdaemon/v2/dfdaemon.proto


/**
 * Stands for the messages of what is not served; their fields are skipped.
 */
export interface UnservedRequest {
}

/**
 * Stands for the messages of what is not served; their fields are skipped.
 */
export interface UnservedRequest__Output {
}
