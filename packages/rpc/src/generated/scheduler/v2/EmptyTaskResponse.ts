// Original file: proto/scheduler/v2/scheduler.proto


/**
 * The task is empty: there is nothing to fetch.
 */
export interface EmptyTaskResponse {
}

/**
 * The task is empty: there is nothing to fetch.
 */
export interface EmptyTaskResponse__Output {
}
