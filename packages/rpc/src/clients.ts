import { createRpcClient, type RpcClient, type RpcClientOptions } from "./client.ts";
import type {
  CacheMethods,
  DfdaemonDownloadMethods,
  DfdaemonUploadMethods,
  HealthMethods,
  ManagerMethods,
  PieceTransferMethods,
  SchedulerMethods,
} from "./generated/services.ts";
import type { RpcTarget } from "./target.ts";

export type DfdaemonUploadClient = RpcClient<DfdaemonUploadMethods>;
export type DfdaemonDownloadClient = RpcClient<DfdaemonDownloadMethods>;
export type SchedulerClient = RpcClient<SchedulerMethods>;
export type HealthClient = RpcClient<HealthMethods>;
export type ManagerClient = RpcClient<ManagerMethods>;
export type CacheClient = RpcClient<CacheMethods>;
export type PieceTransferClient = RpcClient<PieceTransferMethods>;

/** What a daemon serves to other daemons. */
export function createDfdaemonUploadClient(
  target: RpcTarget,
  options?: RpcClientOptions,
): DfdaemonUploadClient {
  return createRpcClient("dfdaemon.v2.DfdaemonUpload", target, options);
}

/** What a daemon serves to the programs on its node. */
export function createDfdaemonDownloadClient(
  target: RpcTarget,
  options?: RpcClientOptions,
): DfdaemonDownloadClient {
  return createRpcClient("dfdaemon.v2.DfdaemonDownload", target, options);
}

export function createSchedulerClient(
  target: RpcTarget,
  options?: RpcClientOptions,
): SchedulerClient {
  return createRpcClient("scheduler.v2.Scheduler", target, options);
}

export function createHealthClient(target: RpcTarget, options?: RpcClientOptions): HealthClient {
  return createRpcClient("grpc.health.v1.Health", target, options);
}

/** Of a Dragonfly cluster. */
export function createManagerClient(target: RpcTarget, options?: RpcClientOptions): ManagerClient {
  return createRpcClient("manager.v2.Manager", target, options);
}

/** Of a daemon of ours, on its unix socket. */
export function createCacheClient(target: RpcTarget, options?: RpcClientOptions): CacheClient {
  return createRpcClient("damselfly.v1.Cache", target, options);
}

/** Pieces between Damselfly's own daemons. */
export function createPieceTransferClient(
  target: RpcTarget,
  options?: RpcClientOptions,
): PieceTransferClient {
  return createRpcClient("damselfly.v1.PieceTransfer", target, options);
}
