// Original file: proto/common/v2/common.proto

import type { Range as _common_v2_Range, Range__Output as _common_v2_Range__Output } from '../../common/v2/Range.ts';
import type { Priority as _common_v2_Priority, Priority__Output as _common_v2_Priority__Output } from '../../common/v2/Priority.ts';
import type { Piece as _common_v2_Piece, Piece__Output as _common_v2_Piece__Output } from '../../common/v2/Piece.ts';
import type { Duration as _google_protobuf_Duration, Duration__Output as _google_protobuf_Duration__Output } from '../../google/protobuf/Duration.ts';
import type { Task as _common_v2_Task, Task__Output as _common_v2_Task__Output } from '../../common/v2/Task.ts';
import type { Host as _common_v2_Host, Host__Output as _common_v2_Host__Output } from '../../common/v2/Host.ts';
import type { Timestamp as _google_protobuf_Timestamp, Timestamp__Output as _google_protobuf_Timestamp__Output } from '../../google/protobuf/Timestamp.ts';

/**
 * One daemon's part in one task.
 */
export interface Peer {
  'id'?: (string) | undefined;
  'range'?: (_common_v2_Range | null) | undefined;
  'priority'?: (_common_v2_Priority) | undefined;
  'pieces'?: (_common_v2_Piece)[] | undefined;
  'cost'?: (_google_protobuf_Duration | null) | undefined;
  /**
   * Pending, ReceivedEmpty, ReceivedTiny, ReceivedSmall, ReceivedNormal, Running, BackToSource, Succeeded, Failed or Leave.
   */
  'state'?: (string) | undefined;
  'task'?: (_common_v2_Task | null) | undefined;
  'host'?: (_common_v2_Host | null) | undefined;
  'needBackToSource'?: (boolean) | undefined;
  'createdAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'updatedAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'concurrentPieceCount'?: (number) | undefined;
}

/**
 * One daemon's part in one task.
 */
export interface Peer__Output {
  'id': (string);
  'range'?: (_common_v2_Range__Output | null);
  'priority': (_common_v2_Priority__Output);
  'pieces': (_common_v2_Piece__Output)[];
  'cost': (_google_protobuf_Duration__Output | null);
  /**
   * Pending, ReceivedEmpty, ReceivedTiny, ReceivedSmall, ReceivedNormal, Running, BackToSource, Succeeded, Failed or Leave.
   */
  'state': (string);
  'task': (_common_v2_Task__Output | null);
  'host': (_common_v2_Host__Output | null);
  'needBackToSource': (boolean);
  'createdAt': (_google_protobuf_Timestamp__Output | null);
  'updatedAt': (_google_protobuf_Timestamp__Output | null);
  'concurrentPieceCount'?: (number);
  '_range'?: "range";
  '_concurrentPieceCount'?: "concurrentPieceCount";
}
