export { ALPN } from "./codes.ts";
export type { EndpointTuning } from "./endpoint-tuning.ts";
export type { QuicPeerStats, QuicTotals } from "./connection-ledger.ts";
export type { QuicParentStats } from "./connection-pool.ts";
export {
  createQuicDownloader,
  type QuicBackend,
  type QuicDownloader,
  type QuicDownloaderOptions,
  type QuicDownloaderStats,
} from "./quic-downloader.ts";
export {
  type QuicPieceServer,
  type QuicServerStats,
  serveQuic,
  type ServeQuicOptions,
} from "./serve-quic.ts";
