import { serveRpc } from "@damselfly/rpc";
import type { Tls } from "@damselfly/transport";
import type { Logger } from "./logger.ts";
import { DEFAULT_SCHEDULER_CONFIG, type SchedulerConfig } from "./scheduler-config.ts";
import { DEFAULT_SCHEDULER_LIMITS, type SchedulerLimits } from "./scheduler-limits.ts";
import { createSchedulerService } from "./scheduler-service.ts";
import { Scheduling } from "./scheduling.ts";
import { SeedAsker } from "./seed-asker.ts";

export interface ServeSchedulerOptions {
  /** An IP literal; port 0 picks a free one. */
  readonly address: { readonly ip: string; readonly port: number };
  /** With it mutual TLS; each caller may then speak only for hosts that its certificate names. */
  readonly tls?: Tls | undefined;
  /** With TLS: callers without a certificate, as Dragonfly's daemons, are served on the same port. */
  readonly plainPeers?: boolean | undefined;
  /** Hostnames that may be seeds, by certificate where there are any; absent or empty: whoever says that it is one. */
  readonly seeds?: readonly string[] | undefined;
  /** For calls to seeds; absent: plain. */
  readonly seedTls?: Tls | undefined;
  readonly config?: Partial<SchedulerConfig> | undefined;
  readonly limits?: Partial<SchedulerLimits> | undefined;
  /** Default: 4,000. */
  readonly requestsPerSecondMax?: number | undefined;
  readonly logger: Logger & { error(fields: object, message: string): void };
  /** Milliseconds since 1970. Default: the system's clock. */
  readonly clock?: { now(): number } | undefined;
}

/** Disposing ends every peer's stream with UNAVAILABLE, then closes. Idempotent. */
export interface SchedulerServer extends AsyncDisposable {
  /** Where it really listens. */
  readonly address: { readonly ip: string; readonly port: number };
}

/** Every download of every daemon has a call here: ten thousand daemons with five each. They cost some 10 KiB apiece. */
const CALL_COUNT_MAX = 50_000;

/** Dragonfly's. */
const REQUESTS_PER_SECOND_MAX = 4_000;

/** Of Dragonfly's peers, which name all their parents when they want others. Bytes. */
const MESSAGE_LENGTH_MAX = 4 << 20;

/** How long calls may go on once the server closes. Milliseconds; the streams have ended by then. */
const CLOSE_GRACE_MS = 1_000;

/**
 * Serves scheduler.v2 and the health service.
 *
 * @throws {ServeError} when it cannot listen there
 */
export async function serveScheduler(options: ServeSchedulerOptions): Promise<SchedulerServer> {
  const {
    tls,
    plainPeers = tls === undefined,
    seedTls,
    seeds,
    requestsPerSecondMax = REQUESTS_PER_SECOND_MAX,
    logger,
    clock = { now: monotonicClock() },
  } = options;
  const config = { ...DEFAULT_SCHEDULER_CONFIG, ...options.config };
  const limits = { ...DEFAULT_SCHEDULER_LIMITS, ...options.limits };
  const asker = new SeedAsker({
    tls: seedTls,
    plainPeers,
    callCountMax: limits.seedCallCountMax,
    inquiryMs: config.seedInquiryMs,
    logger,
    onFailed: (taskId, hostId) => scheduling.seedFailed(taskId, hostId),
    onHolds: (taskId, seed) => scheduling.seedHolds(taskId, seed),
    onLacks: (taskId) => scheduling.seedLacks(taskId),
  });
  const scheduling = new Scheduling({
    config,
    limits,
    now: () => clock.now(),
    random: Math.random,
    askSeed: (seed, task, download) => asker.ask(seed, task, download),
    inquireSeed: (seed, task, download) => asker.inquire(seed, task, download),
    logger,
  });
  const server = await serveRpc({
    address: options.address,
    services: [
      createSchedulerService(scheduling, { secure: tls !== undefined, plainPeers, seeds, limits }),
    ],
    tls,
    plain: plainPeers,
    logger,
    graceMs: CLOSE_GRACE_MS,
    requestLimits: {
      ratePerSecond: requestsPerSecondMax,
      waitingCountMax: Math.ceil(requestsPerSecondMax / 10),
    },
    limits: {
      callCountMax: CALL_COUNT_MAX,
      callsPerAddressMax: CALL_COUNT_MAX / 2,
      messageLengthMax: MESSAGE_LENGTH_MAX,
    },
    channelOptions: {
      // A node that vanished is noticed after 30 s, so that those behind it get other parents.
      "grpc.keepalive_time_ms": 20_000,
      "grpc.keepalive_timeout_ms": 10_000,
    },
  });
  const ticker = setInterval(() => scheduling.tick(), config.tickMs);
  const { address } = server;
  if (!("ip" in address)) throw new TypeError("a scheduler listens on TCP");
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      clearInterval(ticker);
      scheduling.close();
      await asker[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** The time of day that never goes back, whatever happens to the system's clock. */
function monotonicClock(): () => number {
  const startedAtMs = Date.now() - performance.now();
  return () => startedAtMs + performance.now();
}
