/** Names the protocol in the TLS handshake (RFC 7301), its version included: other versions do not connect. */
export const ALPN = "d7y-vortex/1";

/** Application error codes of connections. */
export const ConnectionCode = {
  /** Nobody needs it any more. */
  Done: 0,
  /** The parent sees losses that its congestion control does not bear: the child dials again, asking for BBR. */
  Redial: 1,
  /** The certificate under which the other side told its key is not trusted any more. */
  Distrusted: 2,
} as const;

/** Application error codes of streams. They tell the other side why; nothing depends on them but messages. */
export const StreamCode = {
  /** The QUIC endpoint itself resets with 0, a stream over its limit. */
  Refused: 0,
  /** The child has no more use for the piece. */
  Cancelled: 1,
  /** The parent announced the piece and then failed to read it, or found it damaged. */
  Failed: 2,
  /** The request was none. */
  Protocol: 3,
  /** The parent did not finish the piece within the bound of its closing. */
  Closing: 4,
} as const;
