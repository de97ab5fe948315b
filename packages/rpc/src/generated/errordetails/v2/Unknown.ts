// Original file: proto/errordetails/v2/errordetails.proto


/**
 * Anything else that went wrong.
 */
export interface Unknown {
  'message'?: (string) | undefined;
}

/**
 * Anything else that went wrong.
 */
export interface Unknown__Output {
  'message'?: (string);
  '_message'?: "message";
}
