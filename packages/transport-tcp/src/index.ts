export { TcpError, type TcpErrorCode } from "./errors.ts";
export type { TcpLogger } from "./logger.ts";
export {
  serveTcp,
  type ServeTcpOptions,
  type TcpPieceServer,
  type TcpServerStats,
} from "./serve-tcp.ts";
export {
  createTcpDownloader,
  type TcpDownloader,
  type TcpDownloaderOptions,
  type TcpDownloaderStats,
} from "./tcp-downloader.ts";
