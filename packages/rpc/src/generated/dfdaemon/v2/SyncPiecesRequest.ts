// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { PeerExtension as _damselfly_v1_PeerExtension, PeerExtension__Output as _damselfly_v1_PeerExtension__Output } from '../../damselfly/v1/PeerExtension.ts';

export interface SyncPiecesRequest {
  /**
   * Who asks.
   */
  'hostId'?: (string) | undefined;
  'taskId'?: (string) | undefined;
  'interestedPieceNumbers'?: (number)[] | undefined;
  'extension'?: (_damselfly_v1_PeerExtension | null) | undefined;
}

export interface SyncPiecesRequest__Output {
  /**
   * Who asks.
   */
  'hostId': (string);
  'taskId': (string);
  'interestedPieceNumbers': (number)[];
  'extension': (_damselfly_v1_PeerExtension__Output | null);
}
