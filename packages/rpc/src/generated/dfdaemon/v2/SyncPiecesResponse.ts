// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { PeerExtension as _damselfly_v1_PeerExtension, PeerExtension__Output as _damselfly_v1_PeerExtension__Output } from '../../damselfly/v1/PeerExtension.ts';

/**
 * One piece that the daemon has.
 */
export interface SyncPiecesResponse {
  /**
   * Zero-based.
   */
  'number'?: (number) | undefined;
  /**
   * Bytes from the start of the task.
   */
  'offset'?: (number) | undefined;
  /**
   * Bytes.
   */
  'length'?: (number) | undefined;
  /**
   * Where Vortex is spoken, by transport.
   */
  'ip'?: (string) | undefined;
  'tcpPort'?: (number) | undefined;
  'quicPort'?: (number) | undefined;
  /**
   * In the first response only.
   */
  'extension'?: (_damselfly_v1_PeerExtension | null) | undefined;
}

/**
 * One piece that the daemon has.
 */
export interface SyncPiecesResponse__Output {
  /**
   * Zero-based.
   */
  'number': (number);
  /**
   * Bytes from the start of the task.
   */
  'offset': (number);
  /**
   * Bytes.
   */
  'length': (number);
  /**
   * Where Vortex is spoken, by transport.
   */
  'ip': (string);
  'tcpPort'?: (number);
  'quicPort'?: (number);
  /**
   * In the first response only.
   */
  'extension': (_damselfly_v1_PeerExtension__Output | null);
  '_tcpPort'?: "tcpPort";
  '_quicPort'?: "quicPort";
}
