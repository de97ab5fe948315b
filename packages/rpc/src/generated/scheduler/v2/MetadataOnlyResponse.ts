// Original file: proto/scheduler/v2/scheduler.proto


/**
 * The answer to a registration that wants metadata only.
 */
export interface MetadataOnlyResponse {
}

/**
 * The answer to a registration that wants metadata only.
 */
export interface MetadataOnlyResponse__Output {
}
