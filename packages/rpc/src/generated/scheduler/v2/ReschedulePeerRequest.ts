// Original file: proto/scheduler/v2/scheduler.proto

import type { Peer as _common_v2_Peer, Peer__Output as _common_v2_Peer__Output } from '../../common/v2/Peer.ts';

/**
 * The peer wants other parents than these.
 */
export interface ReschedulePeerRequest {
  'candidateParents'?: (_common_v2_Peer)[] | undefined;
  'description'?: (string) | undefined;
}

/**
 * The peer wants other parents than these.
 */
export interface ReschedulePeerRequest__Output {
  'candidateParents': (_common_v2_Peer__Output)[];
  'description'?: (string);
  '_description'?: "description";
}
