import { status, type Download__Output } from "@damselfly/rpc";
import type { SchedulerConnection } from "../scheduling/scheduler-client.ts";

/** @throws {RpcError} `PERMISSION_DENIED`, in Dragonfly's words, if the cluster does not want this downloaded */
export function assertNotBlocked(
  scheduler: SchedulerConnection | undefined,
  download: Download__Output | null,
): void {
  if (download === null || scheduler?.isBlocked(download) !== true) return;
  throw status("PERMISSION_DENIED", "download rejected by blocklist policy");
}
