// Original file: proto/errordetails/v2/errordetails.proto


/**
 * The origin answered, and its answer was no.
 */
export interface Backend {
  /**
   * What the origin said, for people.
   */
  'message'?: (string) | undefined;
  /**
   * The header of its answer.
   */
  'header'?: ({[key: string]: string}) | undefined;
  /**
   * Its HTTP status; absent when it never answered.
   */
  'statusCode'?: (number) | undefined;
}

/**
 * The origin answered, and its answer was no.
 */
export interface Backend__Output {
  /**
   * What the origin said, for people.
   */
  'message': (string);
  /**
   * The header of its answer.
   */
  'header': ({[key: string]: string});
  /**
   * Its HTTP status; absent when it never answered.
   */
  'statusCode'?: (number);
  '_statusCode'?: "statusCode";
}
