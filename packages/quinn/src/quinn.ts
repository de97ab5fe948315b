import type { QuicEndpoint, QuicEndpointOptions } from "@damselfly/quic";

/** A `QuicEndpoint` whose peers are known by keys. Made by `openQuinnEndpoint`. */
export interface QuinnEndpoint extends QuicEndpoint {
  /** The libp2p peer id that others must name to dial this endpoint. */
  readonly peerKey: string;
}

/**
 * What differs from quiche's endpoint: `tls` and `serverName` mean nothing, for keys take their place; packets find
 * their own length (up to 1452 bytes); congestion control is cubic; there is no choice of UDP, no
 * early data and no key log: asking for the last is answered by a warning in the log, the others are passed over.
 */
export interface QuinnEndpointOptions extends Omit<QuicEndpointOptions, "tls" | "serverName"> {
  /** libp2p's protobuf of an Ed25519 key; default: a new one, which nobody else has. */
  readonly privateKey?: Uint8Array | undefined;
  /**
   * Whether a peer that has proven to hold this key may connect. Asked before anything of a connection is read, and
   * again by `recheckPeers`. Needed with `accept`.
   */
  readonly isKnownPeer?: ((peerKey: string) => boolean) | undefined;
  /** Bytes that a peer may send unread on all streams of a connection together; default 128 MiB. */
  readonly connectionWindow?: number | undefined;
}
