export { TransportError, type TransportErrorCode } from "./errors.ts";
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
