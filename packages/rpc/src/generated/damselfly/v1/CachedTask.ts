// Original file: proto/damselfly/v1/cache.proto

import type { Timestamp as _google_protobuf_Timestamp, Timestamp__Output as _google_protobuf_Timestamp__Output } from '../../google/protobuf/Timestamp.ts';

export interface CachedTask {
  'taskId'?: (string) | undefined;
  /**
   * Without what may be a secret in it.
   */
  'url'?: (string) | undefined;
  /**
   * Of the whole file, in bytes.
   */
  'contentLength'?: (number) | undefined;
  'pieceCount'?: (number) | undefined;
  /**
   * Of them, on disk and good.
   */
  'presentPieceCount'?: (number) | undefined;
  /**
   * What it takes of the disk, journal and all.
   */
  'bytes'?: (number) | undefined;
  /**
   * What of it comes back when it is deleted: not what a user has as a hard link.
   */
  'freeableBytes'?: (number) | undefined;
  'createdAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'usedAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'pinned'?: (boolean) | undefined;
  /**
   * Being fetched, served or handed out.
   */
  'busy'?: (boolean) | undefined;
  /**
   * Why nothing is known of it but its size; empty: all is well.
   */
  'problem'?: (string) | undefined;
}

export interface CachedTask__Output {
  'taskId': (string);
  /**
   * Without what may be a secret in it.
   */
  'url': (string);
  /**
   * Of the whole file, in bytes.
   */
  'contentLength': (number);
  'pieceCount': (number);
  /**
   * Of them, on disk and good.
   */
  'presentPieceCount': (number);
  /**
   * What it takes of the disk, journal and all.
   */
  'bytes': (number);
  /**
   * What of it comes back when it is deleted: not what a user has as a hard link.
   */
  'freeableBytes': (number);
  'createdAt': (_google_protobuf_Timestamp__Output | null);
  'usedAt': (_google_protobuf_Timestamp__Output | null);
  'pinned': (boolean);
  /**
   * Being fetched, served or handed out.
   */
  'busy': (boolean);
  /**
   * Why nothing is known of it but its size; empty: all is well.
   */
  'problem': (string);
}
