// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { Range as _common_v2_Range, Range__Output as _common_v2_Range__Output } from '../../common/v2/Range.ts';
import type { Piece as _common_v2_Piece, Piece__Output as _common_v2_Piece__Output } from '../../common/v2/Piece.ts';
import type { DownloadStartExtension as _damselfly_v1_DownloadStartExtension, DownloadStartExtension__Output as _damselfly_v1_DownloadStartExtension__Output } from '../../damselfly/v1/DownloadStartExtension.ts';

/**
 * The first response: what the task is.
 */
export interface DownloadTaskStartedResponse {
  /**
   * Bytes of the entire file, whatever the range.
   */
  'contentLength'?: (number) | undefined;
  /**
   * The range of the request.
   */
  'range'?: (_common_v2_Range | null) | undefined;
  /**
   * What the origin said.
   */
  'responseHeader'?: ({[key: string]: string}) | undefined;
  /**
   * Every piece of interest, with number, offset and length: callers tick them off one by one.
   */
  'pieces'?: (_common_v2_Piece)[] | undefined;
  /**
   * True: the task was complete on disk before this call.
   */
  'isFinished'?: (boolean) | undefined;
  'extension'?: (_damselfly_v1_DownloadStartExtension | null) | undefined;
}

/**
 * The first response: what the task is.
 */
export interface DownloadTaskStartedResponse__Output {
  /**
   * Bytes of the entire file, whatever the range.
   */
  'contentLength': (number);
  /**
   * The range of the request.
   */
  'range'?: (_common_v2_Range__Output | null);
  /**
   * What the origin said.
   */
  'responseHeader': ({[key: string]: string});
  /**
   * Every piece of interest, with number, offset and length: callers tick them off one by one.
   */
  'pieces': (_common_v2_Piece__Output)[];
  /**
   * True: the task was complete on disk before this call.
   */
  'isFinished': (boolean);
  'extension': (_damselfly_v1_DownloadStartExtension__Output | null);
  '_range'?: "range";
}
