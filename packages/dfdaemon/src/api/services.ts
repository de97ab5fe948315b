import { Allowance } from "@damselfly/limits";
import {
  implementService,
  status,
  type DownloadTaskRequest__Output,
  type DownloadTaskResponse,
  type Host,
  type ImplementedService,
  type ServiceImplementation,
  type Services,
  type StreamContext,
  type Task,
} from "@damselfly/rpc";
import type { DataPlane } from "../data-plane/data-plane.ts";
import { describeNetwork, type HostFacts } from "../host/describe-host.ts";
import type { TrafficMeter } from "../host/traffic-meter.ts";
import type { Logger } from "../logger.ts";
import { meterDownloadService, meterUploadService } from "../metrics/meter-services.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Origin } from "../origins/origin.ts";
import { pause } from "../pause.ts";
import type { SchedulerConnection } from "../scheduling/scheduler-client.ts";
import type { TaskManager } from "../tasks/task-manager.ts";
import { DEFAULT_API_LIMITS, type ApiLimits } from "./api-limits.ts";
import { assertCertified, assertHostIdentity } from "./assert-host-identity.ts";
import { assertNotBlocked } from "./assert-not-blocked.ts";
import { assertOutputUser } from "./assert-output-user.ts";
import { deleteLocalTask, describeTask, statLocalTask } from "./local-tasks.ts";
import { listTaskEntries } from "./list-task-entries.ts";
import type { LocalContent } from "./local-content.ts";
import { Seats } from "./seats.ts";
import { streamDownload } from "./stream-download.ts";
import { syncPieces } from "./sync-pieces.ts";
import { deleteTaskEverywhere, SCHEDULER_CALL_MS } from "./task-deletion.ts";
import { toStatus } from "./to-status.ts";
import { joinSignals } from "../join-signals.ts";

/** How often SyncHost reports. Milliseconds. */
const SYNC_HOST_INTERVAL_MS = 1_000;

/** A peer that takes no message of these streams for so long is not listened for any more, as Dragonfly's daemons do. Milliseconds. */
const SYNC_SEND_MS = 10_000;

const UNSERVED = "this daemon serves standard tasks only, no persistent and no cache tasks";

export interface ServiceParts {
  readonly manager: TaskManager;
  readonly dataPlane: DataPlane;
  readonly origin: Pick<Origin, "stat">;
  readonly scheduler: SchedulerConnection | undefined;
  readonly host: HostFacts;
  /** Whether others are served with mutual TLS. Otherwise only this machine is, or `security.insecure` is set. */
  readonly tls: boolean;
  /** Peers without certificates are served too. Always so where `tls` is not. */
  readonly plainPeers: boolean;
  readonly meter: TrafficMeter;
  readonly metrics: Metrics;
  readonly localContent: LocalContent;
  readonly limits?: Partial<ApiLimits>;
  /** Called at every request, so that a daemon that ends when idle knows it is not. */
  readonly onRequest: () => void;
  /** The host leaves the cluster: DeleteHost. */
  readonly onLeave: () => Promise<void>;
  readonly logger: Logger;
}

/** What the programs on this node may ask: the unix socket. */
export function createDownloadService(parts: ServiceParts): ImplementedService {
  const { manager, dataPlane } = parts;
  const { storage } = dataPlane;
  const { history } = manager;
  const methods: ServiceImplementation<Services["dfdaemon.v2.DfdaemonDownload"]> = {
    downloadTask: (request, context) => {
      assertNotBlocked(parts.scheduler, request.download);
      assertOutputUser(request.download);
      return downloadTask(parts, request, { ...context, outputAllowed: true });
    },
    statTask: (request, { signal }) => answer(() => statTask(parts, request.taskId, signal)),
    statLocalTask: (request) => answer(() => statLocalTask(storage, history, request.taskId)),
    listLocalTasks: () =>
      answer(async () => ({
        tasks: (await storage.listTasks()).map((task) => describeTask(task, history)),
      })),
    listTaskEntries: (request, { signal }) =>
      answer(() => listTaskEntries(parts.origin, request, { signal })),
    deleteTask: (request, { signal }) => answer(() => deleteTask(parts, request.taskId, signal)),
    deleteLocalTask: (request) =>
      answer(async () => {
        await deleteLocalTask(storage, history, request.taskId);
        return {};
      }),
    deleteHost: () =>
      answer(async () => {
        await parts.onLeave();
        return {};
      }),
  };
  const metered = meterDownloadService(methods, parts.metrics);
  return implementService("dfdaemon.v2.DfdaemonDownload", metered, { unserved: UNSERVED });
}

/** What other daemons and the scheduler may ask: TCP. */
export function createUploadService(parts: ServiceParts): ImplementedService {
  const { manager, dataPlane, host, tls, plainPeers, meter, onRequest } = parts;
  const limits = { ...DEFAULT_API_LIMITS, ...parts.limits };
  const wantedPieces = new Allowance(limits.wantedPieceCountMax);
  const children = new Seats("peers that listen for pieces", {
    countMax: limits.childCountMax,
    perAddressMax: limits.childrenPerAddressMax,
  });
  const watchers = new Seats("peers that listen for how this host fares", {
    countMax: limits.watcherCountMax,
    perAddressMax: limits.watchersPerAddressMax,
  });
  const orders = new Seats("downloads", {
    countMax: limits.orderCountMax,
    perAddressMax: limits.ordersPerAddressMax,
  });
  const methods: ServiceImplementation<Services["dfdaemon.v2.DfdaemonUpload"]> = {
    downloadTask: (request, context) =>
      orders.seated(
        context.peerIp,
        downloadTask(parts, request, { ...context, outputAllowed: false }),
      ),
    statTask: (request, { signal }) => answer(() => statTask(parts, request.taskId, signal)),
    statLocalTask: (request) =>
      answer(() => statLocalTask(dataPlane.storage, manager.history, request.taskId)),
    listTaskEntries: async (request, { signal, peerIp }) => {
      const leave = orders.take(peerIp);
      try {
        return await answer(() => listTaskEntries(parts.origin, request, { signal }));
      } finally {
        leave();
      }
    },
    deleteTask: (request, { signal }) => answer(() => deleteTask(parts, request.taskId, signal)),
    syncPieces: (request, { signal, closing, peerCertificate, peerIp }) => {
      onRequest();
      if (tls && !plainPeers) assertCertified(request.hostId, peerCertificate);
      assertHostIdentity(request.hostId, peerCertificate);
      const isTrusted = !tls || peerCertificate !== undefined;
      const certificates = peerCertificate === undefined ? [] : [peerCertificate.raw];
      const access = { isTrusted, certificates, plainPeers };
      const messages = syncPieces(
        { dataPlane, manager, ip: host.ip, ...access, wantedPieces, closing },
        request,
        signal,
      );
      return translated(children.seated(peerIp, messages), signal);
    },
    syncHost(_request, { signal, closing, peerIp }) {
      return watchers.seated(peerIp, syncHost({ host, meter, closing }, signal));
    },
  };
  const metered = meterUploadService(methods, parts.metrics);
  return implementService("dfdaemon.v2.DfdaemonUpload", metered, {
    sendTimeoutsMs: { syncPieces: SYNC_SEND_MS, syncHost: SYNC_SEND_MS },
    unserved: UNSERVED,
  });
}

async function* syncHost(
  {
    host,
    meter,
    closing,
  }: Pick<ServiceParts, "host" | "meter"> & { readonly closing: AbortSignal },
  signal: AbortSignal,
): AsyncGenerator<Host, void, undefined> {
  using joined = joinSignals(signal, closing);
  const left = joined.signal;
  while (!left.aborted) {
    const network = describeNetwork(host, meter);
    yield { id: host.id, hostname: host.hostname, ip: host.ip, port: host.port, network };
    await pause(SYNC_HOST_INTERVAL_MS, left);
  }
  signal.throwIfAborted();
}

function downloadTask(
  { manager, host, metrics, localContent, onRequest }: ServiceParts,
  request: DownloadTaskRequest__Output,
  options: StreamContext & { readonly outputAllowed: boolean },
): AsyncIterable<DownloadTaskResponse> {
  onRequest();
  const { signal, userAgent, outputAllowed, taken } = options;
  const labels = request.download && metrics.labeler.labelsOf(request.download);
  const prefetchObserver = labels && {
    started: () => metrics.prefetchStarted(labels),
    failed: () => metrics.prefetchFailed(labels),
  };
  const messages = streamDownload(manager, request, {
    hostId: host.id,
    signal,
    outputAllowed,
    isTonic: userAgent.startsWith("tonic/"),
    localContent,
    taken,
    isOurs: userAgent.startsWith("damselfly-dfget"),
    ...(prefetchObserver ? { prefetchObserver } : {}),
  });
  return translated(messages, signal);
}

async function statTask(
  { scheduler, host }: ServiceParts,
  taskId: string,
  signal: AbortSignal,
): Promise<Task> {
  const [client] = scheduler?.clientsFor(taskId) ?? [];
  if (client === undefined)
    throw status("FAILED_PRECONDITION", "Cannot look up the task: this daemon knows no scheduler");
  return await client.statTask(
    { hostId: host.id, taskId },
    { signal, timeoutMs: SCHEDULER_CALL_MS },
  );
}

async function deleteTask(
  parts: ServiceParts,
  taskId: string,
  signal: AbortSignal,
): Promise<Record<string, never>> {
  const { dataPlane, scheduler, host, logger } = parts;
  await deleteTaskEverywhere(
    { storage: dataPlane.storage, scheduler, hostId: host.id, logger },
    taskId,
    signal,
  );
  return {};
}

async function answer<Response>(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    throw toStatus(error);
  }
}

async function* translated<Message>(
  messages: AsyncIterable<Message>,
  signal: AbortSignal,
): AsyncGenerator<Message, void, undefined> {
  try {
    yield* messages;
  } catch (error) {
    signal.throwIfAborted();
    throw toStatus(error);
  }
}
