/** Parts of a daemon, for tests from outside its package. Exported as "@damselfly/dfdaemon/testing". */
export { createCacheService } from "./api/cache-service.ts";
export { createDownloadService, createUploadService, type ServiceParts } from "./api/services.ts";
export { LocalContent } from "./api/local-content.ts";
export { ContentLimits, DEFAULT_CONTENT_LIMITS } from "./data-plane/content-limits.ts";
export { InProcessDataPlane } from "./data-plane/in-process-data-plane.ts";
export { DaemonError } from "./errors.ts";
export { CacheGc } from "./gc/cache-gc.ts";
export { TrafficMeter } from "./host/traffic-meter.ts";
export { createMetrics } from "./metrics/metrics.ts";
export { guardOrigin } from "./origins/guarded-origin.ts";
export { openHttpOrigin, type HttpOriginOptions } from "./origins/http-origin.ts";
export { OriginError, type OriginErrorCode } from "./origins/origin-error.ts";
export { OriginGuard, type OriginClock } from "./origins/origin-guard.ts";
export type { Origin, OriginBody, OriginRequest, OriginStat } from "./origins/origin.ts";
export type { ParentEvent } from "./parents/parent-channel.ts";
export { RpcParentChannel } from "./parents/rpc-parent-channel.ts";
export { UploadClients } from "./parents/upload-clients.ts";
export { RpcPeerSession } from "./scheduling/rpc-peer-session.ts";
export type {
  CandidateParent,
  PeerRegistration,
  ScheduleEvent,
} from "./scheduling/scheduler-link.ts";
export { TaskManager } from "./tasks/task-manager.ts";
