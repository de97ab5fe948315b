import { isIP } from "node:net";
import { duration, timerDuration } from "@damselfly/settings";
import * as z from "zod";

/** Paths of PEM files; empty: none. */
export interface TlsSection {
  readonly caCert: string;
  readonly cert: string;
  readonly key: string;
}

/** dfscheduler's settings: those of Dragonfly's scheduler.yaml that apply, by their names there, and `security`. */
export interface SchedulerSettings {
  readonly server: {
    readonly listenIP: string;
    /** 0 picks a free one. */
    readonly port: number;
    /** What daemons are told to dial; for the ready line. Absent: `listenIP`. */
    readonly advertiseIP?: string | undefined;
    /** Requests a second; a tenth more wait for the next second. */
    readonly requestRateLimit: number;
    /** For those who dial this scheduler; in place of `security`. */
    readonly tls: TlsSection;
  };
  readonly scheduler: {
    readonly retryLimit: number;
    readonly retryBackToSourceLimit: number;
    /** Milliseconds, as all durations here. */
    readonly retryInterval: number;
    readonly backToSourceCount: number;
    readonly gc: {
      readonly pieceDownloadTimeout: number;
      readonly peerGCInterval: number;
      readonly peerTTL: number;
      readonly hostTTL: number;
    };
    /** A reader of the origin that makes no progress for this long is replaced. Ours. */
    readonly originLease: number;
  };
  readonly seedPeer: {
    /** For calls to seeds; in place of `security`. */
    readonly tls: TlsSection;
  };
  readonly security: TlsSection & {
    /** Without certificates: serve other machines all the same. */
    readonly insecure: boolean;
    /** With certificates: daemons without any, as Dragonfly's are, are served all the same. */
    readonly plainPeers: boolean;
    /** Hostnames that may be seeds; empty: whoever says that it is one. */
    readonly seeds: readonly string[];
    /** File with the serial numbers of certificates that are trusted no more; empty: none are. */
    readonly revoked: string;
    /** How often certificates and that list are looked at again. */
    readonly reloadInterval: number;
  };
}

const ipLiteral = z.string().refine((text) => isIP(text) !== 0, "an IP address");
const tlsFiles = {
  caCert: z.string().default(""),
  cert: z.string().default(""),
  key: z.string().default(""),
};
const tlsSection = z.object(tlsFiles).prefault({});
/** A key of Dragonfly's that is accepted and does nothing here. */
const inert = z.unknown().optional();

export const settingsSchema: z.ZodType<SchedulerSettings> = z.object({
  server: z
    .object({
      listenIP: ipLiteral.default("0.0.0.0"),
      port: z.int().min(0).max(65_535).default(8002),
      advertiseIP: ipLiteral.optional(),
      tls: tlsSection,
      advertisePort: inert,
      host: inert,
      workHome: inert,
      cacheDir: inert,
      logDir: inert,
      logLevel: inert,
      logMaxSize: inert,
      logMaxAge: inert,
      logMaxBackups: inert,
      pluginDir: inert,
      dataDir: inert,
      requestRateLimit: z.int().min(1).default(4_000),
    })
    .prefault({}),
  scheduler: z
    .object({
      retryLimit: z.int().min(1).default(5),
      retryBackToSourceLimit: z.int().min(0).default(4),
      retryInterval: duration({ minMs: 1 }).default(500),
      backToSourceCount: z.int().min(1).default(200),
      gc: z
        .object({
          pieceDownloadTimeout: duration({ minMs: 1_000 }).default(30 * 60_000),
          peerGCInterval: duration({ minMs: 100 }).default(10_000),
          peerTTL: duration({ minMs: 1_000 }).default(24 * 3_600_000),
          hostTTL: duration({ minMs: 1_000 }).default(3_600_000),
          taskGCInterval: inert,
          hostGCInterval: inert,
        })
        .prefault({}),
      originLease: duration({ minMs: 1_000 }).default(10_000),
      algorithm: inert,
      networkTopology: inert,
      training: inert,
    })
    .prefault({}),
  seedPeer: z.object({ tls: tlsSection, enable: inert, taskDownloadTimeout: inert }).prefault({}),
  security: z
    .object({
      ...tlsFiles,
      insecure: z.boolean().default(false),
      plainPeers: z.boolean().default(false),
      seeds: z.array(z.string()).default([]),
      revoked: z.string().default(""),
      reloadInterval: timerDuration({ minMs: 1_000 }).default(10_000),
    })
    .prefault({}),
  manager: inert,
  database: inert,
  dynConfig: inert,
  resource: inert,
  host: inert,
  job: inert,
  storage: inert,
  metrics: inert,
  network: inert,
  trainer: inert,
  tracing: inert,
  console: inert,
  verbose: inert,
});
