// Original file: proto/damselfly/v1/extension.proto

import type { TransportOffer as _damselfly_v1_TransportOffer, TransportOffer__Output as _damselfly_v1_TransportOffer__Output } from '../../damselfly/v1/TransportOffer.ts';

/**
 * What a daemon can do, in the first message of a SyncPieces exchange in either direction, and in the last one of a parent that is
 * being stopped. In
 * scheduler.v2.RegisterPeerRequest its presence says that this peer takes candidate parents it did not ask for.
 */
export interface PeerExtension {
  /**
   * 1. A higher one means more fields, never other meanings.
   */
  'version'?: (number) | undefined;
  /**
   * Where this daemon serves pieces, in no order.
   */
  'transports'?: (_damselfly_v1_TransportOffer)[] | undefined;
  /**
   * Names of optional parts of the protocols that this daemon understands.
   */
  'features'?: (string)[] | undefined;
  /**
   * Public key of the daemon's quinn endpoint, as libp2p encodes it; empty: none.
   */
  'quinnKey'?: (Uint8Array) | undefined;
  /**
   * What this daemon's copy was made from: a hash of the length, ETag and Last-Modified that the origin
   * gave. Copies with different versions are never mixed. Empty: not known yet.
   */
  'contentVersion'?: (string) | undefined;
  /**
   * In the last message of a parent: it is being stopped. What it is sending it will send, but it is to be asked for nothing more.
   */
  'leaving'?: (boolean) | undefined;
  /**
   * SHA-256, in hex, of the server and path that this daemon's copy was read from, where the task id is a hash of its URL: an id can be
   * had for another URL, and copies from two places are never mixed. Empty: it does not matter where it is from, or is not known.
   */
  'sourceDigest'?: (string) | undefined;
}

/**
 * What a daemon can do, in the first message of a SyncPieces exchange in either direction, and in the last one of a parent that is
 * being stopped. In
 * scheduler.v2.RegisterPeerRequest its presence says that this peer takes candidate parents it did not ask for.
 */
export interface PeerExtension__Output {
  /**
   * 1. A higher one means more fields, never other meanings.
   */
  'version': (number);
  /**
   * Where this daemon serves pieces, in no order.
   */
  'transports': (_damselfly_v1_TransportOffer__Output)[];
  /**
   * Names of optional parts of the protocols that this daemon understands.
   */
  'features': (string)[];
  /**
   * Public key of the daemon's quinn endpoint, as libp2p encodes it; empty: none.
   */
  'quinnKey': (Buffer);
  /**
   * What this daemon's copy was made from: a hash of the length, ETag and Last-Modified that the origin
   * gave. Copies with different versions are never mixed. Empty: not known yet.
   */
  'contentVersion': (string);
  /**
   * In the last message of a parent: it is being stopped. What it is sending it will send, but it is to be asked for nothing more.
   */
  'leaving': (boolean);
  /**
   * SHA-256, in hex, of the server and path that this daemon's copy was read from, where the task id is a hash of its URL: an id can be
   * had for another URL, and copies from two places are never mixed. Empty: it does not matter where it is from, or is not known.
   */
  'sourceDigest': (string);
}
