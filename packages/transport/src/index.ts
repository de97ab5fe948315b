export { assertByteRange, type ByteRange, clipByteRange } from "./byte-range.ts";
export { TransportError, type TransportErrorCode } from "./errors.ts";
export {
  createMemoryTransport,
  type MemoryPieceServer,
  type MemoryTransport,
} from "./memory-transport.ts";
export { createPieceDownload, type PieceDownloadInit } from "./piece-download.ts";
export { type Refusal, type RefusalCode, toRefusal } from "./refusal.ts";
export {
  DEFAULT_DOWNLOADER_TIMEOUTS,
  DEFAULT_SERVER_LIMITS,
  type Downloader,
  type DownloaderTimeouts,
  type ParentAddress,
  type PieceDownload,
  type PieceInfo,
  type PieceReader,
  type PieceRequest,
  type PieceServer,
  type PieceSource,
  type Protocol,
  type ServerAddress,
  type ServerLimits,
  type TlsIdentity,
} from "./transport.ts";
export { within } from "./within.ts";
