// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { Entry as _dfdaemon_v2_Entry, Entry__Output as _dfdaemon_v2_Entry__Output } from '../../dfdaemon/v2/Entry.ts';

export interface ListTaskEntriesResponse {
  /**
   * Bytes.
   */
  'contentLength'?: (number) | undefined;
  'responseHeader'?: ({[key: string]: string}) | undefined;
  'statusCode'?: (number) | undefined;
  'entries'?: (_dfdaemon_v2_Entry)[] | undefined;
}

export interface ListTaskEntriesResponse__Output {
  /**
   * Bytes.
   */
  'contentLength': (number);
  'responseHeader': ({[key: string]: string});
  'statusCode'?: (number);
  'entries': (_dfdaemon_v2_Entry__Output)[];
  '_statusCode'?: "statusCode";
}
