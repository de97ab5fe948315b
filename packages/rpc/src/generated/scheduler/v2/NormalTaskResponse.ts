// Original file: proto/scheduler/v2/scheduler.proto

import type { Peer as _common_v2_Peer, Peer__Output as _common_v2_Peer__Output } from '../../common/v2/Peer.ts';

/**
 * Try these.
 */
export interface NormalTaskResponse {
  'candidateParents'?: (_common_v2_Peer)[] | undefined;
}

/**
 * Try these.
 */
export interface NormalTaskResponse__Output {
  'candidateParents': (_common_v2_Peer__Output)[];
}
