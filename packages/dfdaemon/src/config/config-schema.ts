import { hostname } from "node:os";
import { duration, size, timerDuration } from "@damselfly/settings";
import * as z from "zod";
import { findLocalAddress } from "../identity/local-address.ts";
import type { Config } from "./config.ts";
import { DEFAULT_DYNCONFIG_PATH } from "./default-paths.ts";
import {
  account,
  bandwidth,
  count,
  hostAndPort,
  inert,
  ipLiteral,
  permissions,
  port,
} from "./setting-types.ts";

const PROXY = "there is no proxy";
const RATE = "requests are not limited by load";
const LATER = "this is not built yet";
/** Of old files and of the Helm chart: Dragonfly passes them over in silence, as it does every key that it does not know. */
const UNHEEDED = "Dragonfly's own daemons of today do not heed it";
const LOG_FLAGS = "the log is set up by flags, see dfdaemon --help";
const OWN_STORAGE = "content and metadata are stored in another way here";

const tlsFiles = {
  caCert: z.string().default(""),
  cert: z.string().default(""),
  key: z.string().default(""),
};

const hostSection = z.object({
  idc: z.string().default(""),
  location: z.string().default(""),
  /** Empty: the system's. */
  hostname: z.string().default(""),
  ip: ipLiteral().optional(),
  schedulerClusterID: z.int().min(0).default(0),
});

const downloadSection = z.object({
  server: z
    .object({
      socketPath: z.string().min(1).default("/var/run/dragonfly/dfdaemon.sock"),
      socketMode: permissions().default(0o660),
      socketOwner: account().default(""),
      socketGroup: account().default(""),
      requestRateLimit: count().default(400),
      requestBufferSize: z.int().min(0).default(50),
      requestbufferSize: inert(UNHEEDED),
    })
    .prefault({}),
  /** Dragonfly's; ours is `storage.server.protocol`. */
  protocol: z.enum(["tcp", "quic"]).optional(),
  bandwidthLimit: bandwidth(),
  backToSourceBandwidthLimit: bandwidth(),
  pieceTimeout: timerDuration({ minMs: 1 }).default(360_000),
  collectedPieceTimeout: timerDuration({ minMs: 1 }).default(360_000),
  concurrentPieceCount: count().default(8),
  backToSourceConcurrentPieceCount: count().default(8),
  rateLimit: inert(UNHEEDED),
  parentSelector: inert(UNHEEDED),
});

const uploadSection = z.object({
  server: z
    .object({
      ip: ipLiteral().optional(),
      port: port().default(4000),
      ...tlsFiles,
      requestRateLimit: count().default(400),
      requestBufferSize: z.int().min(0).default(50),
      requestbufferSize: inert(UNHEEDED),
      protocol: inert(UNHEEDED),
    })
    .prefault({}),
  client: z.object(tlsFiles).prefault({}),
  disableShared: z.boolean().default(false),
  bandwidthLimit: bandwidth(),
  rateLimit: inert(UNHEEDED),
});

const schedulerSection = z.object({
  addrs: z.array(hostAndPort()).default([]),
  embedded: z.union([z.boolean(), z.literal("auto")]).default("auto"),
  port: port().default(8002),
  announceInterval: timerDuration({ minMs: 1 }).default(300_000),
  scheduleTimeout: duration({ minMs: 1 }).default(10_800_000),
  maxScheduleCount: count().default(5),
  ...tlsFiles,
  enableBackToSource: inert(UNHEEDED),
});

const quicSection = z.object({
  port: port().optional(),
  backend: z.enum(["auto", "quiche", "quinn"]).default("auto"),
  quinnPort: port().default(4008),
  bufferSize: size({ max: 2 ** 31 - 1 }).default(4 * 2 ** 20),
  idleTimeout: timerDuration({ minMs: 1 }).default(300_000),
  maxConnections: count().default(1000),
  congestionControl: z.enum(["auto", "cubic", "bbr", "reno"]).default("auto"),
  udp: z.enum(["auto", "gso", "dgram"]).default("auto"),
  packetLength: z.union([z.literal("auto"), z.int().min(1200).max(16_383)]).default("auto"),
  enable0RTT: z.boolean().default(true),
  keyLog: z.string().default(""),
});

const storageSection = z.object({
  dir: z.string().min(1).default("/var/lib/dragonfly/"),
  /** Dragonfly's default is false: it forgets everything at each start. */
  keep: z.boolean().default(true),
  pieceDigest: z.enum(["crc32", "sha256"]).default("crc32"),
  verifyOnHit: z.enum(["stat", "full"]).default("stat"),
  scrubRate: size().default(4 * 2 ** 20),
  server: z
    .object({
      ip: ipLiteral().optional(),
      protocol: z.enum(["grpc", "quic", "tcp", "auto"]).optional(),
      grpcPort: port().default(4007),
      quic: quicSection.prefault({}),
      /** Dragonfly's; ours is `quic.port`. */
      quicPort: port().optional(),
      tcpPort: port().default(4005),
      tcpFastopen: inert("Node has no way to ask for it, and Dragonfly's own children do not"),
    })
    .prefault({}),
  writePieceTimeout: inert(OWN_STORAGE),
  writeBufferSize: inert(OWN_STORAGE),
  readBufferSize: inert(OWN_STORAGE),
  writebackMode: inert(OWN_STORAGE),
  cacheCapacity: inert(OWN_STORAGE),
});

const backendSection = z.object({
  caCert: z.string().default(""),
  insecureSkipVerify: z.boolean().default(false),
  requestHeader: z.record(z.string(), z.string()).default({}),
  maxRetries: z.int().min(0).default(1),
  verifyDigest: z.boolean().default(true),
  enableCacheTemporaryRedirect: inert(
    "where a file's redirects led is always remembered, for its ranges only",
  ),
  cacheTemporaryRedirectTTL: inert(
    "where a file's redirects led is always remembered, for its ranges only",
  ),
  putConcurrentChunkCount: inert("nothing is uploaded to origins"),
  putChunkSize: inert("nothing is uploaded to origins"),
  putTimeout: inert("nothing is uploaded to origins"),
  enableHickoryDNS: inert("names are resolved by the system"),
});

const percent = z.int().min(1).max(99).optional();
const threshold = size().optional();
const gcSection = z.object({
  interval: timerDuration({ minMs: 1 }).default(900_000),
  policy: z
    .object({
      taskTTL: duration({ minMs: 1 }).default(30 * 86_400_000),
      diskThreshold: threshold,
      diskHighThresholdPercent: percent,
      diskLowThresholdPercent: percent,
      persistentTaskTTL: inert(LATER),
      persistentCacheTaskTTL: inert(LATER),
      pageCacheIdleTimeout: inert(OWN_STORAGE),
      // Dragonfly's own older spellings.
      distThreshold: threshold,
      distHighThresholdPercent: percent,
      distLowThresholdPercent: percent,
    })
    .prefault({}),
});

const proxySection = z.object({
  server: z
    .object({
      ip: inert(PROXY),
      port: inert(PROXY),
      requestRateLimit: inert(PROXY),
      caCert: inert(PROXY),
      caKey: inert(PROXY),
      basicAuth: inert(PROXY),
    })
    .prefault({}),
  rules: inert(PROXY),
  registryMirror: inert(PROXY),
  disableBackToSource: inert(PROXY),
  prefetch: inert(PROXY),
  prefetchBandwidthLimit: inert(PROXY),
  readBufferSize: inert(PROXY),
  prefetchRateLimit: inert(PROXY),
});

function serverSection(defaultPort: number): z.ZodObject<{
  ip: z.ZodOptional<z.ZodString>;
  port: z.ZodDefault<z.ZodInt>;
}> {
  return z.object({ ip: ipLiteral().optional(), port: port().default(defaultPort) });
}

const settings = z.object({
  host: hostSection.prefault({}),
  server: z
    .object({
      pluginDir: inert("origins are built in, not plugins"),
      cacheDir: inert("nothing is cached there"),
      adaptiveRateLimit: inert(RATE),
    })
    .prefault({}),
  download: downloadSection.prefault({}),
  upload: uploadSection.prefault({}),
  manager: z
    .object({
      addr: z.string().default(""),
      ...tlsFiles,
      addrs: inert(UNHEEDED),
    })
    .prefault({}),
  scheduler: schedulerSection.prefault({}),
  seedPeer: z
    .object({
      enable: z.boolean().default(false),
      type: inert("every seed announces itself as super"),
      clusterID: inert(UNHEEDED),
      keepaliveInterval: inert(UNHEEDED),
    })
    .prefault({}),
  dynconfig: z
    .object({
      path: z.string().min(1).default(DEFAULT_DYNCONFIG_PATH),
      refreshInterval: timerDuration({ minMs: 1 }).default(60_000),
    })
    .prefault({}),
  storage: storageSection.prefault({}),
  dataPlane: z
    .object({
      workers: z.union([z.int().min(0).max(64), z.literal("auto")]).default("auto"),
      memoryLimit: z.union([z.literal("auto"), size({ min: 64 * 2 ** 20 })]).default("auto"),
    })
    .prefault({}),
  backend: backendSection.prefault({}),
  gc: gcSection.prefault({}),
  proxy: proxySection.prefault({}),
  security: z
    .object({
      ...tlsFiles,
      insecure: z.boolean().default(false),
      plainPeers: z.boolean().default(false),
      seeds: z.array(z.string()).default([]),
      revoked: z.string().default(""),
      reloadInterval: timerDuration({ minMs: 1_000 }).default(10_000),
      enable: inert("TLS is on when security.caCert, cert and key are given"),
    })
    .prefault({}),
  health: z.object({ server: serverSection(4003).prefault({}) }).prefault({}),
  metrics: z.object({ server: serverSection(4002).prefault({}) }).prefault({}),
  stats: z.object({ server: serverSection(4004).prefault({}) }).prefault({}),
  tracing: z
    .object({
      protocol: inert(LATER),
      endpoint: inert(LATER),
      path: inert(LATER),
      headers: inert(LATER),
      addr: inert(UNHEEDED),
      flamegraph: inert(UNHEEDED),
    })
    .prefault({}),
  network: z.object({ enableIPv6: z.boolean().default(false) }).prefault({}),
  idleExit: duration().default(0),
  log: inert(LOG_FLAGS),
  console: inert(LOG_FLAGS),
});

/**
 * Dragonfly's `dfdaemon.yaml` and ours, in the order of Dragonfly's documentation. Ours win over Dragonfly's where both are given.
 * Source of keys and defaults: dragonflyoss/client 1.5.10, dragonfly-client-config, dfdaemon.rs.
 */
export const configSchema: z.ZodType<Config> = settings
  .superRefine(checkTogether)
  .transform(resolve);

type Settings = z.infer<typeof settings>;

function checkTogether(given: Settings, context: z.RefinementCtx): void {
  const { server } = given.storage;
  const quicPort = server.quic.port ?? server.quicPort ?? QUIC_PORT;
  const complain = (path: string, message: string): void =>
    context.addIssue({ code: "custom", path: path.split("."), message });
  if (quicPort !== 0 && quicPort === server.quic.quinnPort)
    complain("storage.server.quic.quinnPort", "a port other than storage.server.quic.port");
  const uploadPort = given.upload.server.port;
  if (server.grpcPort !== 0 && server.grpcPort === uploadPort)
    complain("storage.server.grpcPort", "a port other than upload.server.port");
  if (server.tcpPort !== 0 && server.tcpPort === uploadPort)
    complain("storage.server.tcpPort", "a port other than upload.server.port");
  if (server.tcpPort !== 0 && server.tcpPort === server.grpcPort)
    complain("storage.server.tcpPort", "a port other than storage.server.grpcPort");
}

function resolve(given: Settings): Config {
  const { host, storage, network } = given;
  const everywhere = network.enableIPv6 ? "::" : "0.0.0.0";
  const listen = <Server extends { readonly ip?: string | undefined }>(
    server: Server,
  ): Server & { readonly ip: string } => ({ ...server, ip: server.ip ?? everywhere });
  const { quicPort, quic: ownQuic, protocol, ...ownServer } = storage.server;
  return {
    ...given,
    host: {
      ...host,
      hostname: host.hostname === "" ? hostname() : host.hostname,
      ip: host.ip ?? findLocalAddress({ ipv6: network.enableIPv6 }),
    },
    upload: { ...given.upload, server: listen(given.upload.server) },
    health: { server: listen(given.health.server) },
    metrics: { server: listen(given.metrics.server) },
    // It says what is downloaded, and from where, to whoever asks.
    stats: { server: { ...given.stats.server, ip: given.stats.server.ip ?? "127.0.0.1" } },
    gc: { ...given.gc, policy: gcPolicy(given) },
    storage: {
      ...storage,
      server: {
        ...listen(ownServer),
        protocol: protocol ?? given.download.protocol ?? "auto",
        quic: { ...ownQuic, port: ownQuic.port ?? quicPort ?? QUIC_PORT },
      },
    },
  };
}

/** Dragonfly takes a low mark above the high one, which says nothing; here the low one gives way. */
function gcPolicy({ gc: { policy } }: Settings): Config["gc"]["policy"] {
  const high = policy.diskHighThresholdPercent ?? policy.distHighThresholdPercent ?? 80;
  const low = policy.diskLowThresholdPercent ?? policy.distLowThresholdPercent ?? 60;
  return {
    taskTTL: policy.taskTTL,
    diskThreshold: policy.diskThreshold ?? policy.distThreshold ?? 0,
    diskHighThresholdPercent: high,
    diskLowThresholdPercent: Math.min(low, high),
  };
}

const QUIC_PORT = 4006;
