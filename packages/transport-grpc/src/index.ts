export {
  createGrpcDownloader,
  type GrpcDownloader,
  type GrpcDownloaderOptions,
} from "./grpc-downloader.ts";
export { serveGrpc, type GrpcPieceServer, type ServeGrpcOptions } from "./serve-grpc.ts";
