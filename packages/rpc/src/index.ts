export { backendDetails, encodeBackendDetails, type BackendDetails } from "./backend-details.ts";
export { checkHealth } from "./check-health.ts";
export { onceLost } from "./once-lost.ts";
export { onceReady } from "./once-ready.ts";
export {
  createCacheClient,
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  createHealthClient,
  createManagerClient,
  createPieceTransferClient,
  createSchedulerClient,
  type CacheClient,
  type DfdaemonDownloadClient,
  type DfdaemonUploadClient,
  type HealthClient,
  type ManagerClient,
  type PieceTransferClient,
  type SchedulerClient,
} from "./clients.ts";
export {
  createRpcClient,
  defaultChannelOptions,
  type RpcCallOptions,
  type RpcClient,
  type RpcClientOptions,
  type RpcConnection,
} from "./client.ts";
export type { RpcDuplex } from "./duplex.ts";
export * from "./generated/messages.ts";
export type * from "./generated/services.ts";
export {
  implementService,
  type CallContext,
  type StreamContext,
  type DuplexCall,
  type ImplementedService,
  type MethodHandler,
  type ResponseSerializer,
  type ResponseSerializers,
  type ServiceImplementation,
} from "./implement-service.ts";
export {
  loadService,
  type LoadedService,
  type ServiceName,
  type Services,
} from "./load-service.ts";
export type { RpcLogger } from "./logger.ts";
export { probeTls, type TlsProbe } from "./probe-tls.ts";
export { RequestGate, type RequestLimits } from "./request-gate.ts";
export { RpcError, status } from "./rpc-error.ts";
export { ServeError, type ServeErrorCode } from "./serve-error.ts";
export { serveRpc, type RpcServer, type ServeRpcOptions } from "./serve-rpc.ts";
export type { StatusName } from "./status.ts";
export { formatTarget, type RpcTarget } from "./target.ts";
export { durationFromMs, durationToMs, timestampFromDate, timestampToDate } from "./time.ts";
