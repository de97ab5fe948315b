// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { Timestamp as _google_protobuf_Timestamp, Timestamp__Output as _google_protobuf_Timestamp__Output } from '../../google/protobuf/Timestamp.ts';

export interface StatLocalTaskResponse {
  'taskId'?: (string) | undefined;
  /**
   * Bytes; absent while not known, like content_length.
   */
  'pieceLength'?: (number) | undefined;
  'contentLength'?: (number) | undefined;
  'responseHeader'?: ({[key: string]: string}) | undefined;
  /**
   * Pieces being served now.
   */
  'uploadingCount'?: (number) | undefined;
  /**
   * Pieces served so far.
   */
  'uploadedCount'?: (number) | undefined;
  'createdAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'updatedAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'prefetchedAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'failedAt'?: (_google_protobuf_Timestamp | null) | undefined;
  'finishedAt'?: (_google_protobuf_Timestamp | null) | undefined;
}

export interface StatLocalTaskResponse__Output {
  'taskId': (string);
  /**
   * Bytes; absent while not known, like content_length.
   */
  'pieceLength'?: (number);
  'contentLength'?: (number);
  'responseHeader': ({[key: string]: string});
  /**
   * Pieces being served now.
   */
  'uploadingCount': (number);
  /**
   * Pieces served so far.
   */
  'uploadedCount': (number);
  'createdAt': (_google_protobuf_Timestamp__Output | null);
  'updatedAt': (_google_protobuf_Timestamp__Output | null);
  'prefetchedAt'?: (_google_protobuf_Timestamp__Output | null);
  'failedAt'?: (_google_protobuf_Timestamp__Output | null);
  'finishedAt'?: (_google_protobuf_Timestamp__Output | null);
  '_pieceLength'?: "pieceLength";
  '_contentLength'?: "contentLength";
  '_prefetchedAt'?: "prefetchedAt";
  '_failedAt'?: "failedAt";
  '_finishedAt'?: "finishedAt";
}
