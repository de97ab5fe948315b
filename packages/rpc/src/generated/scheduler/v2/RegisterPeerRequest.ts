// Original file: proto/scheduler/v2/scheduler.proto

import type { Download as _common_v2_Download, Download__Output as _common_v2_Download__Output } from '../../common/v2/Download.ts';
import type { PeerExtension as _damselfly_v1_PeerExtension, PeerExtension__Output as _damselfly_v1_PeerExtension__Output } from '../../damselfly/v1/PeerExtension.ts';

/**
 * The first message of a peer.
 */
export interface RegisterPeerRequest {
  'download'?: (_common_v2_Download | null) | undefined;
  /**
   * Present: this peer takes candidate parents at any time, asked for or not.
   */
  'extension'?: (_damselfly_v1_PeerExtension | null) | undefined;
}

/**
 * The first message of a peer.
 */
export interface RegisterPeerRequest__Output {
  'download': (_common_v2_Download__Output | null);
  /**
   * Present: this peer takes candidate parents at any time, asked for or not.
   */
  'extension': (_damselfly_v1_PeerExtension__Output | null);
}
