import { RpcError } from "@damselfly/rpc";
import type { Storage } from "@damselfly/storage";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { SchedulerConnection } from "../scheduling/scheduler-client.ts";

/** A unary call to a scheduler on somebody's behalf. Milliseconds. */
export const SCHEDULER_CALL_MS = 10_000;

/** Deletes a task here, and tells the scheduler to forget it everywhere. */
export async function deleteTaskEverywhere(
  parts: {
    readonly storage: Storage;
    readonly scheduler: SchedulerConnection | undefined;
    readonly hostId: string;
    readonly logger: Logger;
  },
  taskId: string,
  signal: AbortSignal,
): Promise<void> {
  await parts.storage.deleteTask(taskId);
  for (const client of parts.scheduler?.clientsFor(taskId).slice(0, 1) ?? []) {
    try {
      await client.deleteTask(
        { hostId: parts.hostId, taskId },
        { signal, timeoutMs: SCHEDULER_CALL_MS },
      );
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RpcError && error.code === "NOT_FOUND") return;
      parts.logger.warn(
        { taskId },
        `the scheduler could not be told to forget the task: ${messageOf(error)}`,
      );
      throw error;
    }
  }
}
