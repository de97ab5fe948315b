import { status, timestampFromDate, type StatLocalTaskResponse } from "@damselfly/rpc";
import type { Storage, StoredTask } from "@damselfly/storage";
import type { TaskHistory } from "../tasks/task-history.ts";

/** @throws {RpcError} `NOT_FOUND` in Dragonfly's words */
export async function statLocalTask(
  storage: Storage,
  history: TaskHistory,
  taskId: string,
): Promise<StatLocalTaskResponse> {
  const task = await storage.openTask(taskId);
  if (task === undefined) throw status("NOT_FOUND", `local task not found: ${taskId}`);
  return describeTask(task, history);
}

/** @throws {RpcError} `NOT_FOUND` in Dragonfly's words */
export async function deleteLocalTask(
  storage: Storage,
  history: TaskHistory,
  taskId: string,
): Promise<void> {
  if (!(await storage.deleteTask(taskId)))
    throw status("NOT_FOUND", `local task not found: ${taskId}`);
  history.forget(taskId);
}

export function describeTask(task: StoredTask, history: TaskHistory): StatLocalTaskResponse {
  const { facts } = task;
  const { failedAtMs, prefetchedAtMs } = history.of(facts.taskId);
  return {
    taskId: facts.taskId,
    pieceLength: facts.pieceLength,
    contentLength: facts.contentLength,
    responseHeader: { ...facts.responseHeader },
    uploadingCount: task.uploadingCount,
    uploadedCount: task.uploadedCount,
    createdAt: timestamp(facts.createdAtMs),
    updatedAt: timestamp(task.usedAtMs),
    ...(prefetchedAtMs === undefined ? {} : { prefetchedAt: timestamp(prefetchedAtMs) }),
    ...(failedAtMs === undefined ? {} : { failedAt: timestamp(failedAtMs) }),
    ...(task.complete ? { finishedAt: timestamp(finishedAtMs(task)) } : {}),
  };
}

/** When the last piece of a complete task came. */
function finishedAtMs({ facts, pieces }: StoredTask): number {
  let atMs = facts.createdAtMs;
  for (const { createdAtMs } of pieces.values()) atMs = Math.max(atMs, createdAtMs);
  return atMs;
}

function timestamp(unixMs: number): { seconds: number; nanos: number } {
  return timestampFromDate(new Date(unixMs));
}
