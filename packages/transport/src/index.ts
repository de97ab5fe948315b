export { assertByteRange, type ByteRange, clipByteRange } from "./byte-range.ts";
export { TransportError, type TransportErrorCode } from "./errors.ts";
export {
  createMemoryTransport,
  type MemoryPieceServer,
  type MemoryTransport,
} from "./memory-transport.ts";
export { chainOf } from "./tls/socket-chain.ts";
export { RefusalLog, type TlsLogger } from "./tls/refusal-log.ts";
export { TICKET_AGE_MAX_MS, TlsAcceptor, type TlsAcceptorInit } from "./tls/tls-acceptor.ts";
export { AdmittedPeers, type AdmittedPeersInit } from "./tls/admitted-peers.ts";
export {
  type CertificateChain,
  expiryOf,
  namesOf,
  type PeerExpectation,
  type PeerFault,
  type PeerRefusal,
  PeerTrust,
  trustOf,
} from "./tls/peer-trust.ts";
export {
  formatSerial,
  isOtherIdentity,
  NODE_CERTIFICATE_NAME,
  type TlsIdentity,
} from "./tls/tls-identity.ts";
export { type Tls, type TlsSource, TlsStore, toTlsSource } from "./tls/tls-source.ts";
export { createPieceDownload, type PieceDownloadInit } from "./piece-download.ts";
export { type Refusal, type RefusalCode, toRefusal } from "./refusal.ts";
export {
  DEFAULT_DOWNLOADER_TIMEOUTS,
  DEFAULT_SERVER_LIMITS,
  type Downloader,
  type DownloaderTimeouts,
  type KeyedPort,
  type ParentAddress,
  type PieceDownload,
  type PieceInfo,
  type OpenPieceOptions,
  type PieceReader,
  type PieceRequest,
  type PieceServer,
  type PieceSource,
  type Protocol,
  type ServerAddress,
  type ServerLimits,
} from "./transport.ts";
export { within } from "./within.ts";
