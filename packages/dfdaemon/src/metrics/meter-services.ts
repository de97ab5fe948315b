import {
  RpcError,
  type CallContext,
  type DownloadTaskRequest__Output,
  type DownloadTaskResponse,
  type ServiceImplementation,
  type Services,
} from "@damselfly/rpc";
import type { MeteredCall, Metrics, TaskOutcome } from "./metrics.ts";

type DownloadMethods = ServiceImplementation<Services["dfdaemon.v2.DfdaemonDownload"]>;
type UploadMethods = ServiceImplementation<Services["dfdaemon.v2.DfdaemonUpload"]>;
type Unary<Request, Response> = (request: Request, context: CallContext) => Promise<Response>;
type DownloadTask = NonNullable<DownloadMethods["downloadTask"]>;

/** The same methods of the unix socket's service; calls are counted as Dragonfly's daemon does it. */
export function meterDownloadService(methods: DownloadMethods, metrics: Metrics): DownloadMethods {
  const { downloadTask, statTask, listLocalTasks, listTaskEntries } = methods;
  const { deleteTask, deleteLocalTask, deleteHost } = methods;
  const unary = counterOf(metrics);
  return {
    ...methods,
    ...(downloadTask && { downloadTask: metered(downloadTask, metrics) }),
    ...(statTask && { statTask: unary("stat_task", statTask) }),
    ...(listLocalTasks && { listLocalTasks: unary("list_local_tasks", listLocalTasks) }),
    ...(listTaskEntries && { listTaskEntries: unary("list_task_entries", listTaskEntries) }),
    ...(deleteTask && { deleteTask: unary("delete_task", deleteTask) }),
    ...(deleteLocalTask && { deleteLocalTask: unary("delete_local_task", deleteLocalTask) }),
    ...(deleteHost && { deleteHost: unary("delete_host", deleteHost) }),
  };
}

/** As `meterDownloadService`, of what other daemons and the scheduler ask. */
export function meterUploadService(methods: UploadMethods, metrics: Metrics): UploadMethods {
  const { downloadTask, statTask, listTaskEntries, deleteTask } = methods;
  const unary = counterOf(metrics);
  return {
    ...methods,
    ...(downloadTask && { downloadTask: metered(downloadTask, metrics) }),
    ...(statTask && { statTask: unary("stat_task", statTask) }),
    ...(listTaskEntries && { listTaskEntries: unary("list_task_entries", listTaskEntries) }),
    ...(deleteTask && { deleteTask: unary("delete_task", deleteTask) }),
  };
}

function counterOf(
  metrics: Metrics,
): <Request, Response>(
  call: MeteredCall,
  handler: Unary<Request, Response>,
) => Unary<Request, Response> {
  return (call, handler) => async (request, context) => {
    metrics.called(call);
    try {
      return await handler(request, context);
    } catch (error) {
      metrics.callFailed(call);
      throw error;
    }
  };
}

function metered(downloadTask: DownloadTask, metrics: Metrics): DownloadTask {
  return (request, context) => {
    let messages: AsyncIterable<DownloadTaskResponse>;
    try {
      messages = downloadTask(request, context);
    } catch (error) {
      // Before there is anything to stream: that is where block lists are looked at.
      if (request.download && isBlocked(error))
        metrics.taskBlocked(metrics.labeler.labelsOf(request.download));
      throw error;
    }
    return watch(messages, request, context, metrics);
  };
}

/** Passes the messages on. What was on disk already is counted here: the others are counted where they arrive. */
async function* watch(
  messages: AsyncIterable<DownloadTaskResponse>,
  { download }: DownloadTaskRequest__Output,
  { signal }: CallContext,
  metrics: Metrics,
): AsyncGenerator<DownloadTaskResponse, void, undefined> {
  if (!download) {
    yield* messages;
    return;
  }
  const labels = metrics.labeler.labelsOf(download);
  const startedMs = performance.now();
  let length = 0;
  let outcome: TaskOutcome = { kind: "left" };
  metrics.taskStarted(labels);
  if (download.isPrefetch) metrics.prefetchStarted(labels);
  try {
    for await (const message of messages) {
      const { downloadTaskStartedResponse: started, downloadPieceFinishedResponse: finished } =
        message;
      if (started) length = started.range?.length ?? started.contentLength ?? 0;
      const piece = finished?.piece;
      if (piece?.trafficType === "LOCAL_PEER")
        metrics.pieceDownloaded({
          trafficType: "LOCAL_PEER",
          length: piece.length ?? 0,
          costMs: 0,
        });
      yield message;
    }
    outcome = { kind: "done", length, durationMs: performance.now() - startedMs };
  } catch (error) {
    if (!signal.aborted) outcome = { kind: "failed" };
    throw error;
  } finally {
    metrics.taskEnded(labels, outcome);
    if (download.isPrefetch && outcome.kind === "failed") metrics.prefetchFailed(labels);
  }
}

/** A download is denied for no other reason. */
function isBlocked(error: unknown): boolean {
  return error instanceof RpcError && error.code === "PERMISSION_DENIED";
}
