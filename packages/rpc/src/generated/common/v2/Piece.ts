// Original file: proto/common/v2/common.proto

import type { TrafficType as _common_v2_TrafficType, TrafficType__Output as _common_v2_TrafficType__Output } from '../../common/v2/TrafficType.ts';
import type { Duration as _google_protobuf_Duration, Duration__Output as _google_protobuf_Duration__Output } from '../../google/protobuf/Duration.ts';
import type { Timestamp as _google_protobuf_Timestamp, Timestamp__Output as _google_protobuf_Timestamp__Output } from '../../google/protobuf/Timestamp.ts';

/**
 * A numbered slice of a task.
 */
export interface Piece {
  /**
   * Zero-based.
   */
  'number'?: (number) | undefined;
  'parentId'?: (string) | undefined;
  /**
   * Bytes from the start of the task.
   */
  'offset'?: (number) | undefined;
  /**
   * Bytes.
   */
  'length'?: (number) | undefined;
  /**
   * `<algorithm>:<value>`; CRC-32 is decimal.
   */
  'digest'?: (string) | undefined;
  'content'?: (Uint8Array) | undefined;
  'trafficType'?: (_common_v2_TrafficType) | undefined;
  'cost'?: (_google_protobuf_Duration | null) | undefined;
  'createdAt'?: (_google_protobuf_Timestamp | null) | undefined;
  /**
   * Damselfly's: a second one, `sha256:` and 64 hex digits; empty: none.
   */
  'strongDigest'?: (string) | undefined;
}

/**
 * A numbered slice of a task.
 */
export interface Piece__Output {
  /**
   * Zero-based.
   */
  'number': (number);
  'parentId'?: (string);
  /**
   * Bytes from the start of the task.
   */
  'offset': (number);
  /**
   * Bytes.
   */
  'length': (number);
  /**
   * `<algorithm>:<value>`; CRC-32 is decimal.
   */
  'digest': (string);
  'content'?: (Buffer);
  'trafficType'?: (_common_v2_TrafficType__Output);
  'cost': (_google_protobuf_Duration__Output | null);
  'createdAt': (_google_protobuf_Timestamp__Output | null);
  /**
   * Damselfly's: a second one, `sha256:` and 64 hex digits; empty: none.
   */
  'strongDigest': (string);
  '_parentId'?: "parentId";
  '_content'?: "content";
  '_trafficType'?: "trafficType";
}
