// Original file: proto/common/v2/common.proto

import type { TaskType as _common_v2_TaskType, TaskType__Output as _common_v2_TaskType__Output } from '../../common/v2/TaskType.ts';
import type { SizeScope as _common_v2_SizeScope, SizeScope__Output as _common_v2_SizeScope__Output } from '../../common/v2/SizeScope.ts';
import type { Piece as _common_v2_Piece, Piece__Output as _common_v2_Piece__Output } from '../../common/v2/Piece.ts';
import type { Timestamp as _google_protobuf_Timestamp, Timestamp__Output as _google_protobuf_Timestamp__Output } from '../../google/protobuf/Timestamp.ts';

/**
 * One file to distribute.
 */
export interface Task {
  'id'?: (string) | undefined;
  'type'?: (_common_v2_TaskType) | undefined;
  'url'?: (string) | undefined;
  /**
   * `<algorithm>:<value>` of the entire file.
   */
  'digest'?: (string) | undefined;
  'tag'?: (string) | undefined;
  'application'?: (string) | undefined;
  /**
   * Query parameters left out of the task id.
   */
  'filteredQueryParams'?: (string)[] | undefined;
  'requestHeader'?: ({[key: string]: string}) | undefined;
  /**
   * Bytes.
   */
  'contentLength'?: (number) | undefined;
  'pieceCount'?: (number) | undefined;
  'sizeScope'?: (_common_v2_SizeScope) | undefined;
  'pieces'?: (_common_v2_Piece)[] | undefined;
  /**
   * Pending, Running, Succeeded, Failed or Leave.
   */
  'state'?: (string) | undefined;
  'peerCount'?: (number) | undefined;
  'hasAvailablePeer'?: (boolean) | undefined;
  'createdAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'updatedAt'?: (_google_protobuf_Timestamp | null) | undefined;
}

/**
 * One file to distribute.
 */
export interface Task__Output {
  'id': (string);
  'type': (_common_v2_TaskType__Output);
  'url': (string);
  /**
   * `<algorithm>:<value>` of the entire file.
   */
  'digest'?: (string);
  'tag'?: (string);
  'application'?: (string);
  /**
   * Query parameters left out of the task id.
   */
  'filteredQueryParams': (string)[];
  'requestHeader': ({[key: string]: string});
  /**
   * Bytes.
   */
  'contentLength': (number);
  'pieceCount': (number);
  'sizeScope': (_common_v2_SizeScope__Output);
  'pieces': (_common_v2_Piece__Output)[];
  /**
   * Pending, Running, Succeeded, Failed or Leave.
   */
  'state': (string);
  'peerCount': (number);
  'hasAvailablePeer': (boolean);
  'createdAt': (_google_protobuf_Timestamp__Output | null);
  'updatedAt': (_google_protobuf_Timestamp__Output | null);
  '_digest'?: "digest";
  '_tag'?: "tag";
  '_application'?: "application";
}
