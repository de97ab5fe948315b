import {
  implementService,
  status,
  timestampFromDate,
  type CachedTask,
  type CacheState,
  type ImplementedService,
  type ServiceImplementation,
  type Services,
} from "@damselfly/rpc";
import type { Storage, StorageUsage, TaskUsage } from "@damselfly/storage";
import type { CacheGc } from "../gc/cache-gc.ts";
import type { Eviction } from "../gc/plan-eviction.ts";
import { redactUrl } from "../origins/redact-url.ts";
import { pause } from "../pause.ts";
import type { TaskHistory } from "../tasks/task-history.ts";
import { type Cached, cachedOf, findCached } from "./find-cached.ts";
import { toStatus } from "./to-status.ts";

/** A download that has just ended is wound up in the background: it is waited for, for three seconds. */
const IDLE_POLL_MS = 100;
const IDLE_ATTEMPTS_MAX = 30;

export interface CacheServiceParts {
  readonly dataPlane: { readonly storage: Storage };
  readonly manager: { readonly history: TaskHistory };
  readonly gc: CacheGc;
}

/** What is in the cache, and what should be: the unix socket. */
export function createCacheService(parts: CacheServiceParts): ImplementedService {
  const { dataPlane, gc } = parts;
  const { storage } = dataPlane;
  const methods: ServiceImplementation<Services["damselfly.v1.Cache"]> = {
    listCache: () =>
      answer(async () => {
        const { usage, cached } = await look(storage);
        return { tasks: cached.map(describe), state: describeState(usage, gc) };
      }),
    pinTasks: ({ tasks, pinned }) =>
      answer(async () => {
        const taskIds = findCached((await look(storage)).cached, tasks);
        for (const taskId of taskIds) await storage.pinTask(taskId, pinned);
        return { taskIds };
      }),
    removeTasks: ({ tasks, force }, { signal }) =>
      answer(() => removeTasks(parts, tasks, { force, signal })),
    collectGarbage: ({ dryRun }) =>
      answer(async () => {
        if (dryRun) {
          const { evictions, shortBytes } = await gc.preview();
          return { evicted: evictions.map(describeEviction), shortBytes };
        }
        const { evicted, shortBytes } = await gc.collect();
        return { evicted: evicted.map(describeEviction), shortBytes };
      }),
  };
  return implementService("damselfly.v1.Cache", methods);
}

async function look(storage: Storage): Promise<{ usage: StorageUsage; cached: Cached[] }> {
  const usage = await storage.usage();
  return { usage, cached: cachedOf(usage, await storage.listTasks()) };
}

async function removeTasks(
  { dataPlane, manager, gc }: CacheServiceParts,
  names: readonly string[],
  { force, signal }: { readonly force: boolean; readonly signal: AbortSignal },
): Promise<{ taskIds: string[] }> {
  const { storage } = dataPlane;
  let taskIds: string[];
  for (let attempt = 1; ; attempt += 1) {
    const { cached } = await look(storage);
    taskIds = findCached(cached, names);
    const chosen = cached
      .map(({ usage }) => usage)
      .filter(({ taskId }) => taskIds.includes(taskId));
    const reason = force ? undefined : whyNot(chosen);
    if (reason === undefined) break;
    if (reason.endsWith("in use") && attempt < IDLE_ATTEMPTS_MAX) {
      await pause(IDLE_POLL_MS, signal);
      continue;
    }
    throw status("FAILED_PRECONDITION", `Cannot remove ${reason}, expected --force`);
  }
  for (const taskId of taskIds) {
    await storage.deleteTask(taskId);
    manager.history.forget(taskId);
    gc.tellGone(taskId);
  }
  return { taskIds };
}

/** As in "abc… is pinned"; undefined: nothing speaks against their removal. */
function whyNot(tasks: readonly TaskUsage[]): string | undefined {
  const pinned = tasks.find((task) => task.pinned);
  if (pinned !== undefined) return `${pinned.taskId}: it is pinned`;
  const busy = tasks.find((task) => task.busy);
  return busy && `${busy.taskId}: it is in use`;
}

function describe({ usage, task }: Cached): CachedTask {
  const { taskId, bytes, freeableBytes, pinned, busy } = usage;
  const common = { taskId, bytes, freeableBytes, pinned, busy, usedAt: timestamp(usage.usedAtMs) };
  if (task === undefined)
    return { ...common, problem: "it cannot be read, or was written by a newer version" };
  return {
    ...common,
    url: redactUrl(task.facts.url),
    contentLength: task.facts.contentLength,
    pieceCount: task.pieceCount,
    presentPieceCount: task.pieces.size,
    createdAt: timestamp(task.facts.createdAtMs),
  };
}

function describeState(usage: StorageUsage, { policy }: CacheGc): CacheState {
  return {
    bytes: usage.bytes,
    reservedBytes: usage.reservedBytes,
    quotaBytes: policy.quotaBytes,
    diskBytes: usage.disk.totalBytes,
    diskFreeBytes: usage.disk.freeBytes,
    highPercent: policy.highPercent,
    lowPercent: policy.lowPercent,
    ttlSeconds: Math.round(policy.taskTtlMs / 1000),
  };
}

function describeEviction({ taskId, reason, bytes, freeableBytes }: Eviction): {
  taskId: string;
  reason: string;
  bytes: number;
  freeableBytes: number;
} {
  return { taskId, reason, bytes, freeableBytes };
}

function timestamp(unixMs: number): { seconds: number; nanos: number } {
  return timestampFromDate(new Date(unixMs));
}

async function answer<Response>(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    throw toStatus(error);
  }
}
