import { status, timestampFromDate, type StatLocalTaskResponse } from "@damselfly/rpc";
import type { Storage, StoredTask } from "@damselfly/storage";

/** @throws {RpcError} `NOT_FOUND` in Dragonfly's words */
export async function statLocalTask(
  storage: Storage,
  taskId: string,
): Promise<StatLocalTaskResponse> {
  const task = await storage.openTask(taskId);
  if (task === undefined) throw status("NOT_FOUND", "local task not found");
  return describeTask(task);
}

export function describeTask(task: StoredTask): StatLocalTaskResponse {
  const { facts } = task;
  const usedAt = timestampFromDate(new Date(task.usedAtMs));
  return {
    taskId: facts.taskId,
    pieceLength: facts.pieceLength,
    contentLength: facts.contentLength,
    responseHeader: { ...facts.responseHeader },
    uploadingCount: task.uploadingCount,
    uploadedCount: task.uploadedCount,
    createdAt: timestampFromDate(new Date(facts.createdAtMs)),
    updatedAt: usedAt,
    ...(task.complete ? { finishedAt: usedAt } : {}),
  };
}
