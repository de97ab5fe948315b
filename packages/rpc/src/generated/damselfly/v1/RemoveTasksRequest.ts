// Original file: proto/damselfly/v1/cache.proto


export interface RemoveTasksRequest {
  /**
   * As in PinTasksRequest.
   */
  'tasks'?: (string)[] | undefined;
  /**
   * Also what is pinned or in use.
   */
  'force'?: (boolean) | undefined;
}

export interface RemoveTasksRequest__Output {
  /**
   * As in PinTasksRequest.
   */
  'tasks': (string)[];
  /**
   * Also what is pinned or in use.
   */
  'force': (boolean);
}
