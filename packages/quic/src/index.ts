export { assertBytes } from "./assert-bytes.ts";
export { closeError, describeCloseReason } from "./close-reason.ts";
export { openDgramSocket } from "./dgram-socket.ts";
export {
  assertAddress,
  assertInteger,
  DEFAULT_QUIC_LIMITS,
  type ResolvedOptions,
  resolveOptions,
} from "./endpoint-options.ts";
export { QuicError, type QuicErrorCode } from "./errors.ts";
export { openGsoSocket } from "./gso-socket.ts";
export { KeepAlive, type KeepAliveInit } from "./keep-alive.ts";
export { loadQuiche } from "./load-quiche.ts";
export type {
  QuicAddress,
  QuicCloseReason,
  QuicCongestionControl,
  QuicConnection,
  QuicConnectionStats,
  QuicDialOptions,
  QuicEarlyData,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicEndpointStats,
  QuicLimits,
  QuicLogger,
  QuicPeer,
  QuicPeerRefusal,
  QuicStream,
  QuicTls,
  QuicUdp,
} from "./quic.ts";
export { openQuicEndpoint } from "./quiche-endpoint.ts";
export {
  SEND_BUFFER_LENGTH,
  type UdpCounters,
  type UdpSocket,
  type UdpSocketFactory,
  type UdpSocketOptions,
} from "./udp-socket.ts";
