import { createIdentity } from "@damselfly/quinn";
import { openStorage, type StorageOptions } from "@damselfly/storage";
import type { Config } from "../config/config.ts";
import type { ListenPolicy } from "../config/listen-policy.ts";
import type { Identities } from "../config/open-identities.ts";
import type { TrafficMeter } from "../host/traffic-meter.ts";
import type { Logger } from "../logger.ts";
import { registerDataPlaneMetrics } from "../metrics/data-plane-metrics.ts";
import { MeteredSource } from "../metrics/metered-source.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Origin } from "../origins/origin.ts";
import { countWorkers } from "./count-workers.ts";
import { ContentLimits, type ContentLimitsInit } from "./content-limits.ts";
import type { DataPlane } from "./data-plane.ts";
import { InProcessDataPlane } from "./in-process-data-plane.ts";
import { KnownPeers } from "./known-peers.ts";
import { openTransports } from "./open-transports.ts";
import { endLeftWorkers } from "./processes/control/end-left-workers.ts";
import { openRemoteDataPlane } from "./processes/control/open-remote-data-plane.ts";
import type { RemoteDataPlane } from "./processes/control/remote-data-plane.ts";
import type { WorkerProcess } from "./processes/control/worker-process.ts";
import type { WorkerOriginInit } from "./processes/protocol.ts";

export interface OpenDataPlaneOptions {
  readonly identities: Pick<Identities, "server" | "client">;
  readonly policy: ListenPolicy;
  readonly meter: TrafficMeter;
  readonly metrics: Metrics;
  /** Reads bodies where the data plane is in this process; stays the caller's. */
  readonly origin: Origin;
  /** The same for other processes. */
  readonly originInit: WorkerOriginInit;
  /** What all of it together may take. */
  readonly limits: ContentLimitsInit;
  /** Starts a data-plane process; absent: there are none, and this one does it all. */
  readonly spawn: (() => WorkerProcess) | undefined;
  /** For the storage, besides what the settings say of it. */
  readonly storage?: Pick<StorageOptions, "makeRoom" | "onDamaged">;
  readonly logger: Logger;
}

/**
 * Opens the storage and what moves its content: in processes of their own, or in this one with `dataPlane.workers: 0`.
 *
 * @throws {StorageError | DaemonError} and what a server says of certificates that it cannot use
 */
export async function openDataPlane(
  config: Config,
  options: OpenDataPlaneOptions,
): Promise<DataPlane> {
  const { spawn, logger } = options;
  const directory = config.storage.dir;
  await endLeftWorkers(directory, logger);
  let remote: RemoteDataPlane | undefined;
  const storage = await openStorage({
    directory,
    keep: config.storage.keep,
    quotaBytes: config.gc.policy.diskThreshold,
    pieceDigest: config.storage.pieceDigest,
    ...options.storage,
    onForget: (path) => remote?.forget(path),
    logger,
  });
  // The data plane owns the storage, and closes it; until there is one, nobody else would.
  try {
    const count = countWorkers(config);
    if (spawn === undefined || count === 0) return await openInProcess(config, options, storage);
    const { meter, metrics } = options;
    remote = await openRemoteDataPlane({
      ...commonOptions(config, options),
      storage,
      count,
      spawn,
      origin: options.originInit,
      limits: options.limits,
      tls: options.policy.tls !== undefined,
      observer: {
        originAsked: (request) => metrics.originAsked(request),
        originAnswered: (request, answer) => metrics.originAnswered(request, answer),
        pieceUploadStarted: () => metrics.pieceUploadStarted(),
        pieceUploadEnded: (length) => metrics.pieceUploadEnded(length),
        sent: (length) => meter.sent(length),
        ...registerDataPlaneMetrics(metrics.registry),
      },
    });
    return remote;
  } catch (error) {
    await storage[Symbol.asyncDispose]();
    throw error;
  }
}

async function openInProcess(
  config: Config,
  options: OpenDataPlaneOptions,
  storage: DataPlane["storage"],
): Promise<DataPlane> {
  const { identities, meter, metrics, origin, policy, logger } = options;
  const { privateKey, publicKey } = createIdentity();
  const peers = new KnownPeers({ tls: identities.server });
  const limits = new ContentLimits(options.limits);
  const transports = await openTransports({
    ...commonOptions(config, options),
    source: new MeteredSource(storage, { meter, metrics }),
    limits,
    quinn: { privateKey, isKnownPeer: (key) => peers.has(key) },
  });
  return new InProcessDataPlane({
    storage,
    origin,
    ...transports,
    quinn: { publicKey, peers },
    limits,
    tls: policy.tls !== undefined,
    logger,
  });
}

function commonOptions(
  config: Config,
  { identities, policy, logger }: OpenDataPlaneOptions,
): Pick<
  Parameters<typeof openTransports>[0],
  "config" | "bindIp" | "serverTls" | "clientTls" | "plainPeers" | "announceMs" | "logger"
> {
  return {
    config: config.storage.server,
    bindIp: policy.pieceBindIp,
    serverTls: identities.server,
    clientTls: identities.client,
    plainPeers: policy.plainPeers,
    announceMs: config.download.pieceTimeout,
    logger,
  };
}
