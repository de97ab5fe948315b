import type { SchedulerLink } from "../scheduling/scheduler-link.ts";
import type { DownloadRequest } from "./download-request.ts";

/** Bytes. Source: dragonflyoss/client 1.5.10, task.rs, `download_partial`. */
const SMALL_LENGTH_MAX = 4 << 20;
/** They say what only a scheduler can know: whether some peer has the task (common.v2.Priority). */
const SCHEDULED_PRIORITIES: ReadonlySet<string> = new Set(["LEVEL1", "LEVEL2"]);

/**
 * Whether a download goes straight to its origin, as those of small files do behind Dragonfly's scheduler: its own daemons do not register
 * them, so there is nobody to get them from. Behind ours they are registered like any other.
 */
export function skipsScheduler(
  request: DownloadRequest,
  contentLength: number,
  scheduler: SchedulerLink,
): boolean {
  return (
    contentLength <= SMALL_LENGTH_MAX &&
    request.schedulingPolicy === "AUTO" &&
    !request.disableBackToSource &&
    // The scheduler has sent us, and is to know what came of it.
    !request.needBackToSource &&
    !SCHEDULED_PRIORITIES.has(request.priority) &&
    scheduler.dialectOf(request.taskId) === "dragonfly"
  );
}
