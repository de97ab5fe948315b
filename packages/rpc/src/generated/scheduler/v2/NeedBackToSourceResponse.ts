// Original file: proto/scheduler/v2/scheduler.proto


/**
 * Go to the origin.
 */
export interface NeedBackToSourceResponse {
  'description'?: (string) | undefined;
}

/**
 * Go to the origin.
 */
export interface NeedBackToSourceResponse__Output {
  'description'?: (string);
  '_description'?: "description";
}
