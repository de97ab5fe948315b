/**
 * What one server takes from those who call it. Lengths in bytes, times in milliseconds. An address is an IPv4 address or an IPv6 /64
 * network; callers on a unix socket have none, and are bounded together only.
 */
export interface RpcLimits {
  /**
   * Connections whose handshakes are over. For one too many the one that has been without a call for longest is closed; where all have
   * calls, those on the new one are answered `RESOURCE_EXHAUSTED`.
   */
  readonly connectionCountMax: number;
  /** Of them, from one address: so that no host keeps all others out. */
  readonly connectionsPerAddressMax: number;
  /** Connections that begin in a second, from one address, and twice as many at once. Further ones are closed. */
  readonly connectionsPerSecondMax: number;
  /** Connections that have not said what they speak, finished TLS and greeted yet. One more closes the oldest of them. */
  readonly halfOpenCountMax: number;
  /** How long they may take for it. */
  readonly halfOpenMs: number;
  /** Calls at once, over all connections. Further ones are answered `RESOURCE_EXHAUSTED`. */
  readonly callCountMax: number;
  /** Of them, from one address. */
  readonly callsPerAddressMax: number;
  /** Calls that begin in a second on one connection, and four times as many at once. Beyond that the connection is closed. */
  readonly callsPerSecondMax: number;
  /** Names and values of a call's headers, and 32 bytes for each of them (RFC 9113, section 6.5.2). */
  readonly headerLengthMax: number;
  /** A message from a caller. A longer one is answered `RESOURCE_EXHAUSTED`. */
  readonly messageLengthMax: number;
  /** From the headers of a call, or the first byte of a message, to the end of that message. Then the call is reset. */
  readonly requestMs: number;
  /** Messages that have begun to arrive, over all connections. Beyond it the call that brought nothing for longest is reset. */
  readonly unfinishedLengthMax: number;
  /** Answers that callers have not taken yet, over all connections. Beyond it the call that took nothing for longest is reset. */
  readonly untakenLengthMax: number;
  /** A caller that takes nothing of an answer for so long is reset. */
  readonly stallMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_RPC_LIMITS: RpcLimits = {
  connectionCountMax: 10_000,
  connectionsPerAddressMax: 5_000,
  // As QUIC's handshakes: a cluster may be behind one NAT.
  connectionsPerSecondMax: 500,
  halfOpenCountMax: 1_000,
  halfOpenMs: 10_000,
  // A call costs some 10 KiB here, so that these are 100 MiB.
  callCountMax: 10_000,
  callsPerAddressMax: 5_000,
  callsPerSecondMax: 1_000,
  // Go's and Rust's servers have the same; a caller of ours sends a few hundred bytes.
  headerLengthMax: 16 * 1024,
  // The piece numbers of a task of a million pieces are below it.
  messageLengthMax: 8 * MIB,
  // As long as a Dragonfly daemon waits for anything of ours, three times over.
  requestMs: 30_000,
  // Eight of the longest messages.
  unfinishedLengthMax: 64 * MIB,
  untakenLengthMax: 64 * MIB,
  stallMs: 60_000,
};
