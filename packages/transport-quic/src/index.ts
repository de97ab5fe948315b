export { ALPN } from "./codes.ts";
export type { EndpointTuning } from "./endpoint-tuning.ts";
export {
  createQuicDownloader,
  type QuicBackend,
  type QuicDownloader,
  type QuicDownloaderOptions,
  type QuicParentStats,
} from "./quic-downloader.ts";
export { type QuicPieceServer, serveQuic, type ServeQuicOptions } from "./serve-quic.ts";
