import { arch, platform, totalmem } from "node:os";
import { serveRpc, type RequestLimits } from "@damselfly/rpc";
import { createCacheService } from "./api/cache-service.ts";
import { LocalContent } from "./api/local-content.ts";
import { createDownloadService, createUploadService, type ServiceParts } from "./api/services.ts";
import type { Config, ServerConfig, RequestRateConfig } from "./config/config.ts";
import { certificateWarnings } from "./config/certificate-warnings.ts";
import { createOriginInit } from "./config/create-origin-init.ts";
import { listenPolicy } from "./config/listen-policy.ts";
import { namingSetting } from "./config/naming-setting.ts";
import { openIdentities } from "./config/open-identities.ts";
import { contentLimitsOf } from "./config/content-limits-of.ts";
import { findSocketOwner } from "./config/socket-owner.ts";
import { LOCAL_SHARE } from "./data-plane/content-limits.ts";
import type { DataPlane } from "./data-plane/data-plane.ts";
import { guardDataPlane } from "./data-plane/guarded-data-plane.ts";
import { openDataPlane } from "./data-plane/open-data-plane.ts";
import type { WorkerProcess } from "./data-plane/processes/control/worker-process.ts";
import type { TransportReport } from "./data-plane/transport-report.ts";
import { createHostFacts } from "./host/create-host-facts.ts";
import { describeHost, HostFigures } from "./host/describe-host.ts";
import { TrafficMeter } from "./host/traffic-meter.ts";
import { watchIdle } from "./idle-watch.ts";
import { CacheGc } from "./gc/cache-gc.ts";
import { ScrubLoop } from "./gc/scrub-loop.ts";
import type { Logger } from "./logger.ts";
import { registerCacheMetrics } from "./metrics/cache-metrics.ts";
import { registerHedgeMetrics } from "./metrics/hedge-metrics.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { serveHttp } from "./metrics/serve-http.ts";
import { statsPages } from "./metrics/stats-pages.ts";
import { registerCertificateMetrics } from "./metrics/certificate-metrics.ts";
import { registerOriginMetrics } from "./metrics/origin-metrics.ts";
import { registerTransportMetrics } from "./metrics/transport-metrics.ts";
import { guardOrigin } from "./origins/guarded-origin.ts";
import { openHttpOrigin } from "./origins/http-origin.ts";
import { OriginGuard } from "./origins/origin-guard.ts";
import type { ProxySettings } from "./origins/proxies.ts";
import { RpcParentChannel } from "./parents/rpc-parent-channel.ts";
import { UploadClients } from "./parents/upload-clients.ts";
import { openSchedulers } from "./scheduling/open-schedulers.ts";
import { TaskManager } from "./tasks/task-manager.ts";
import { VERSION } from "./version.ts";

/** How long running downloads may go on once the daemon is told to stop. Milliseconds. */
const GRACE_MS = 5_000;
/** A piece in a message is 64 MiB at most; the unix socket is not the network. Bytes. */
const SOCKET_MESSAGE_LENGTH_MAX = 65 << 20;
/** Programs may pause for as long as their users do, `dfget -O - | less` among them; what they leave in memory is bounded in LocalContent. */
const SOCKET_LIMITS = { untakenLengthMax: Infinity, stallMs: 24 * 3_600_000 };

/** A million piece numbers take three. Bytes. */
const UPLOAD_MESSAGE_LENGTH_MAX = 4 << 20;

export interface RunOptions {
  readonly logger: Logger;
  /** From the environment: `HTTP_PROXY` and its kin. */
  readonly proxy?: ProxySettings;
  /** What this host is called in a cluster's tools; by default its hostname. */
  readonly instanceName?: string | undefined;
  /** A data-plane process for the storage, started now or before. Absent: this process moves content as well. */
  readonly spawnWorker?: (() => WorkerProcess) | undefined;
  /** Stops the daemon gracefully. */
  readonly signal: AbortSignal;
  /** Called once everything listens. */
  readonly onReady?: (daemon: RunningDaemon) => void;
}

/** Where a running daemon really listens. */
export interface RunningDaemon {
  readonly hostId: string;
  readonly socketPath: string;
  readonly upload: { readonly ip: string; readonly port: number };
  /** For pieces, as Dragonfly's children fetch them. */
  readonly tcp: { readonly ip: string; readonly port: number };
  readonly schedulerAddress: { readonly ip: string; readonly port: number } | undefined;
  /** Where `/api/transports`, `/api/tasks` and `/api/origins` are. */
  readonly statsAddress: { readonly ip: string; readonly port: number };
  /** Looks at the certificates now, as it does every `security.reloadInterval`. Never rejects. */
  reload(): Promise<void>;
}

/**
 * Runs until `signal` aborts, or until it has been idle for `config.idleExit`; then closes everything it opened, last opened first.
 *
 * @throws {SettingsError | StorageError | ServeError | DaemonError} why it cannot start
 */
export async function runDaemon(config: Config, options: RunOptions): Promise<void> {
  const { logger, signal } = options;
  signal.throwIfAborted();
  await using identities = await openIdentities(config, logger);
  const socketOwner = await findSocketOwner(config.download.server);
  const policy = listenPolicy(config, identities.server);
  const warnings = [...policy.warnings, ...certificateWarnings(config, identities)];
  for (const warning of warnings) logger.warn({}, warning);

  const meter = new TrafficMeter();
  const metrics = createMetrics({
    version: VERSION,
    platform: `${platform()}/${arch()}`,
    storageDirectory: config.storage.dir,
  });
  const contentLimits = contentLimitsOf(config, usableMemory());
  const originInit = await createOriginInit(config.backend, options.proxy);
  await using reader = openHttpOrigin({
    ...originInit,
    asksForDigests: config.backend.verifyDigest,
    observer: metrics,
    logger,
  });
  const cacheObserver = registerCacheMetrics(metrics.registry);
  const late: { gc?: CacheGc } = {};
  const guard = new OriginGuard({ limits: { maxRetries: config.backend.maxRetries }, logger });
  await using origin = guardOrigin(reader, guard);
  const digests = registerOriginMetrics(metrics.registry, () => guard.report());
  await using dataPlane = await openDataPlane(config, {
    storage: {
      makeRoom: async (lack) => (await late.gc?.makeRoom(lack)) === true,
      onDamaged: (found) => cacheObserver.damaged(found),
    },
    identities,
    policy,
    meter,
    metrics,
    origin: reader,
    originInit,
    limits: contentLimits,
    spawn: options.spawnWorker,
    logger,
  });

  const host = await createHostFacts(config, {
    ip: policy.announceIp,
    instanceName: options.instanceName,
    limits: contentLimits,
  });
  const figures = new HostFigures(config.storage.dir);
  await using schedulers = await openSchedulers(config, {
    host,
    describeHost: async () => ({
      ...(await describeHost(host, meter, figures)),
      extension: { version: 1, plainPeers: policy.plainPeers },
    }),
    tls: identities.scheduler,
    embedded: {
      tls: identities.scheduler ?? identities.server,
      plainPeers: policy.plainPeers,
      seeds: config.security.seeds,
      seedTls: identities.client,
    },
    managerTls: identities.manager,
    bindIp: policy.bindIp,
    logger,
  });
  const scheduler = schedulers.connection;
  const { policy: gcPolicy, interval: gcIntervalMs } = config.gc;
  await using gc = new CacheGc({
    storage: dataPlane.storage,
    policy: {
      taskTtlMs: gcPolicy.taskTTL,
      quotaBytes: gcPolicy.diskThreshold,
      highPercent: gcPolicy.diskHighThresholdPercent,
      lowPercent: gcPolicy.diskLowThresholdPercent,
    },
    intervalMs: gcIntervalMs,
    scheduler,
    hostId: host.id,
    logger,
    observer: cacheObserver,
  });
  late.gc = gc;
  await using clients = new UploadClients({
    tls: identities.client,
    plainPeers: policy.plainPeers,
  });
  // Keys are exchanged where certificates say with whom, or where the operator has done without them.
  const isChannelTrusted = policy.tls === undefined || identities.client !== undefined;
  const quinnKey = isChannelTrusted ? dataPlane.quinn?.publicKey : undefined;
  await using manager = new TaskManager({
    dataPlane: guardDataPlane(dataPlane, guard),
    origin,
    guard,
    ...(scheduler === undefined ? {} : { scheduler }),
    channel: new RpcParentChannel({
      clients,
      hostId: host.id,
      policy: { tls: identities.client !== undefined, plainPeers: policy.plainPeers },
      quinnKey,
      silenceMs: config.download.collectedPieceTimeout,
    }),
    host,
    limits: {
      concurrentPieceCount: config.download.concurrentPieceCount,
      backToSourceConcurrentPieceCount: config.download.backToSourceConcurrentPieceCount,
      scheduleTimeoutMs: config.scheduler.scheduleTimeout,
      scheduleCountMax: config.scheduler.maxScheduleCount,
    },
    verifyOnHit: config.storage.verifyOnHit,
    makeRoom: (lack) => gc.makeRoom(lack),
    verifyDigest: config.backend.verifyDigest,
    onDigestChecked: (check) => digests.checked(check),
    logger,
    observer: {
      bytes: (length) => meter.received(length),
      piece: (piece, originLength) => metrics.pieceDownloaded(piece, originLength),
      ...registerHedgeMetrics(metrics.registry),
    },
  });

  const stop = new AbortController();
  const idle =
    config.idleExit === 0
      ? undefined
      : watchIdle({
          idleMs: config.idleExit,
          isBusy: () => manager.activeCount > 0,
          onIdle: () => {
            logger.info({}, `nobody asked for anything for ${config.idleExit} ms: stopping`);
            stop.abort();
          },
        });
  /** From then on nobody new is taken in. */
  const over = AbortSignal.any([signal, stop.signal]);
  const parts: ServiceParts = {
    manager,
    dataPlane,
    origin,
    scheduler,
    host,
    tls: policy.tls !== undefined,
    plainPeers: policy.plainPeers,
    meter,
    metrics,
    localContent: new LocalContent(contentLimits.memoryLimit * LOCAL_SHARE),
    onRequest: () => idle?.touch(),
    onLeave: async () => await scheduler?.leave(),
    logger,
  };
  await using upload = await namingSetting(
    "upload.server.port",
    serveRpc({
      address: { ip: policy.bindIp, port: config.upload.server.port },
      services: [createUploadService(parts)],
      tls: identities.server,
      plain: policy.plainPeers,
      // Dragonfly's children that are configured for QUIC try Vortex over TCP here.
      foreign: policy.plainPeers
        ? { accept: (socket) => dataPlane.acceptForeign(socket) }
        : undefined,
      requestLimits: requestLimits(config.upload.server),
      limits: { messageLengthMax: UPLOAD_MESSAGE_LENGTH_MAX },
      logger,
      graceMs: GRACE_MS,
    }),
  );
  if (!("ip" in upload.address)) throw new TypeError("the upload server listens on TCP");
  // Before anybody can ask for anything: whoever asks makes this host known.
  host.port = upload.address.port;
  const { socketPath, socketMode } = config.download.server;
  await using download = await namingSetting(
    "download.server.socketPath",
    serveRpc({
      address: { socketPath, mode: socketMode, owner: socketOwner },
      services: [createDownloadService(parts), createCacheService({ ...parts, gc })],
      requestLimits: requestLimits(config.download.server),
      limits: SOCKET_LIMITS,
      logger,
      graceMs: GRACE_MS,
      channelOptions: { "grpc.max_send_message_length": SOCKET_MESSAGE_LENGTH_MAX },
    }),
  );
  // What says nothing to other machines does not tell them how it is, either.
  const ownMachineOnly = policy.tls === undefined && !config.security.insecure;
  const reachable = (server: ServerConfig): ServerConfig =>
    ownMachineOnly ? { ...server, ip: policy.bindIp } : server;
  await using _health = await namingSetting(
    "health.server.port",
    serveHttp(
      "health",
      reachable(config.health.server),
      new Map([
        [
          "/healthy",
          {
            contentType: "text/plain",
            get statusCode() {
              return over.aborted ? 503 : 200;
            },
            render: async () => (over.aborted ? "stopping\n" : "ok\n"),
          },
        ],
      ]),
    ),
  );
  const { registry } = metrics;
  const transportReport = (): Promise<TransportReport> => dataPlane.transportReport();
  registerTransportMetrics(registry, transportReport);
  registerCertificateMetrics(registry, identities.files);
  await using stats = await namingSetting(
    "stats.server.port",
    serveHttp(
      "stats",
      reachable(config.stats.server),
      statsPages({
        transports: transportReport,
        tasks: () => manager.report(),
        origins: () => guard.report(),
      }),
    ),
  );
  await using _metrics = await namingSetting(
    "metrics.server.port",
    serveHttp(
      "metrics",
      reachable(config.metrics.server),
      new Map([
        [
          "/metrics",
          {
            contentType: registry.contentType,
            render: () => registry.metrics(),
            clear: () => metrics.reset(),
          },
        ],
      ]),
    ),
  );

  scheduler?.start();
  gc.start();
  await using _scrub = new ScrubLoop({
    storage: dataPlane.storage,
    bytesPerSecond: config.storage.scrubRate,
    isBusy: () => manager.activeCount > 0,
    observer: cacheObserver,
    logger,
  });
  logger.info(
    {
      hostId: host.id,
      upload: `${upload.address.ip}:${upload.address.port}`,
      pieces: [
        ...dataPlane.offers.map(({ protocol, ports }) => `${protocol}:${ports.join(",")}`),
        ...(dataPlane.quinn === undefined ? [] : [`quinn:${dataPlane.quinn.ports.join(",")}`]),
      ],
      tls: policy.tls !== undefined,
    },
    `ready: ask at ${socketPath}`,
  );
  options.onReady?.({
    hostId: host.id,
    socketPath,
    upload: upload.address,
    tcp: { ip: policy.pieceBindIp, port: tcpPortOf(dataPlane) },
    schedulerAddress: schedulers.embedded?.address,
    statsAddress: stats.address,
    reload: () => identities.files.look(),
  });
  await aborted(over);
  idle?.stop();
  logger.info({}, "stopping: running downloads may finish");
  // No scheduler names this host any more, its children are told to look elsewhere, and what runs has its time, all at once; what is left
  // when that is over is cut off, last opened first.
  await Promise.all([
    scheduler?.leave(),
    upload[Symbol.asyncDispose](),
    download[Symbol.asyncDispose](),
    dataPlane.drain(),
  ]);
}

/** What this process is allowed of the machine's memory, in bytes: where nothing is said, all of it. */
function usableMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

function requestLimits(config: RequestRateConfig): RequestLimits {
  return {
    ratePerSecond: config.requestRateLimit,
    waitingCountMax: config.requestBufferSize,
  };
}

function tcpPortOf({ offers }: DataPlane): number {
  const [port] = offers.find(({ protocol }) => protocol === "tcp")?.ports ?? [];
  if (port === undefined) throw new TypeError("Vortex is always served over TCP");
  return port;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
