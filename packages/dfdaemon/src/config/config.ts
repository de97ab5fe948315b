import type { Protocol } from "@damselfly/transport";

/**
 * Every setting as the daemon sees it: parsed, checked, defaults filled in. Keys are Dragonfly's where it has them. Durations are in
 * milliseconds, sizes in bytes, whatever unit the file gave them in; empty texts mean "not given".
 */
export interface Config {
  readonly host: {
    readonly idc: string;
    readonly location: string;
    readonly hostname: string;
    /** An IP literal that others reach this host at. */
    readonly ip: string;
    readonly schedulerClusterID: number;
  };
  readonly download: DownloadConfig;
  readonly upload: {
    /** Content sent to other daemons, in bytes a second; Infinity: no bound. */
    readonly bandwidthLimit: number;
    readonly server: ServerConfig & TlsFiles & RequestRateConfig;
    /** For dialling other daemons; overrides `security`. */
    readonly client: TlsFiles;
    /** Announces that this host serves nobody. */
    readonly disableShared: boolean;
  };
  /** Of a Dragonfly cluster, which knows the schedulers; `caCert`, `cert` and `key` make the connection TLS. */
  readonly manager: TlsFiles & {
    /** `http://host:65003`; empty: there is none. */
    readonly addr: string;
  };
  readonly scheduler: SchedulerConfig;
  readonly dynconfig: {
    /** Dragonfly's `dynconfig.yaml`, which names the schedulers when neither `scheduler.addrs` nor `manager.addr` does. */
    readonly path: string;
    /** How often it is looked which schedulers there are, and whether they are healthy. */
    readonly refreshInterval: number;
  };
  readonly seedPeer: { readonly enable: boolean };
  readonly storage: StorageConfig;
  readonly dataPlane: {
    /** Processes that move content; 0: the daemon's own process does. */
    readonly workers: number | "auto";
    /** Bytes of content in memory, in all processes together; auto: by the machine's memory. */
    readonly memoryLimit: number | "auto";
  };
  readonly backend: BackendConfig;
  readonly gc: {
    readonly interval: number;
    readonly policy: {
      /** A task that nobody used for this long is deleted. */
      readonly taskTTL: number;
      /** Bytes that the cache may take: a new task that does not fit is refused when nothing can be evicted. 0: what counts is how full the disk is. */
      readonly diskThreshold: number;
      /** From so much of that on, tasks are evicted until `diskLowThresholdPercent` is reached. */
      readonly diskHighThresholdPercent: number;
      readonly diskLowThresholdPercent: number;
    };
  };
  readonly security: SecurityConfig;
  readonly health: { readonly server: ServerConfig };
  readonly metrics: { readonly server: ServerConfig };
  /** How this daemon does, as JSON. */
  readonly stats: { readonly server: ServerConfig };
  readonly network: { readonly enableIPv6: boolean };
  /** The daemon ends itself after so long without a request or a child; 0: never. */
  readonly idleExit: number;
}

/** How many requests a gRPC server takes; health and reflection are free. */
export interface RequestRateConfig {
  /** In a second. */
  readonly requestRateLimit: number;
  /** That wait for the next second; more are answered RESOURCE_EXHAUSTED. */
  readonly requestBufferSize: number;
}

/** Where a server listens. */
export interface ServerConfig {
  /** An IP literal; `0.0.0.0` for all. */
  readonly ip: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** Paths of PEM files; all three or none. */
export interface TlsFiles {
  readonly caCert: string;
  readonly cert: string;
  readonly key: string;
}

export interface SecurityConfig extends TlsFiles {
  /** Serve beyond loopback without TLS. */
  readonly insecure: boolean;
  /** Besides TLS with our own, talk plain to Dragonfly's daemons and scheduler. */
  readonly plainPeers: boolean;
  /** Hostnames that the scheduler inside accepts as seeds; empty: whoever says that it is one. */
  readonly seeds: readonly string[];
  /** File with the serial numbers of certificates that are trusted no more; empty: none are. */
  readonly revoked: string;
  /** How often certificates and that list are looked at again. */
  readonly reloadInterval: number;
}

export interface DownloadConfig {
  readonly server: RequestRateConfig & {
    readonly socketPath: string;
    /** Permission bits of the socket. */
    readonly socketMode: number;
    /** Name or number of the user that the socket is given to; empty: the daemon's. */
    readonly socketOwner: string;
    /** Likewise its group. */
    readonly socketGroup: string;
  };
  /** Content that comes from other daemons, in bytes a second; Infinity: no bound. */
  readonly bandwidthLimit: number;
  /** The same from origins. */
  readonly backToSourceBandwidthLimit: number;
  /** From the request for a piece to its end. */
  readonly pieceTimeout: number;
  /** How long a parent may say nothing of new pieces. */
  readonly collectedPieceTimeout: number;
  /** Pieces fetched from parents at once, for one task. */
  readonly concurrentPieceCount: number;
  /** Pieces fetched from the origin at once, for one task. */
  readonly backToSourceConcurrentPieceCount: number;
}

/** The scheduler this daemon asks; `caCert`, `cert` and `key` override `security` for it. */
export interface SchedulerConfig extends TlsFiles {
  /** `host:port` each; empty: see `embedded`. */
  readonly addrs: readonly string[];
  /** `auto`: on loopback, when no scheduler is given; true: for others too, on `host.ip` and `port`. */
  readonly embedded: boolean | "auto";
  /** Of the embedded scheduler when it serves others; 0 picks a free one. */
  readonly port: number;
  readonly announceInterval: number;
  /** How long to wait for the scheduler's word on one task. */
  readonly scheduleTimeout: number;
  /** Times one task asks for other parents before it goes to the origin. */
  readonly maxScheduleCount: number;
}

export interface StorageConfig {
  /** Everything lies in `damselfly/` below it. */
  readonly dir: string;
  /** What is there is used again after a restart. */
  readonly keep: boolean;
  /** What is computed of every piece that is written: Dragonfly's CRC-32, or SHA-256 besides. */
  readonly pieceDigest: "crc32" | "sha256";
  /** What is looked at before a file that is here is handed out: whether stat shows a change, or every byte. */
  readonly verifyOnHit: "stat" | "full";
  /** Bytes a second that are read in the background to find what has rotted; 0: none. */
  readonly scrubRate: number;
  readonly server: {
    readonly ip: string;
    /** What this daemon fetches pieces with, auto: what is best for each parent; every server runs at the same time. */
    readonly protocol: Protocol | "auto";
    readonly grpcPort: number;
    readonly tcpPort: number;
    readonly quic: QuicConfig;
  };
}

export interface QuicConfig {
  readonly port: number;
  /** The library behind QUIC; auto: both serve, and each parent is asked over the one that is better there. */
  readonly backend: "auto" | "quiche" | "quinn";
  /** UDP port of quinn, whose peers are known by keys; 0 picks a free one. */
  readonly quinnPort: number;
  /** Bytes of socket buffer to ask the system for, each way. */
  readonly bufferSize: number;
  /** A pooled connection without a request is closed after this. */
  readonly idleTimeout: number;
  /** Kept by the pool, and accepted by the server. */
  readonly maxConnections: number;
  readonly congestionControl: "auto" | "cubic" | "bbr" | "reno";
  /** How datagrams reach the kernel. */
  readonly udp: "auto" | "gso" | "dgram";
  /** The longest UDP payload to send, in bytes; auto: what each path takes. */
  readonly packetLength: "auto" | number;
  /** First requests to a parent that is known travel with the first packet. */
  readonly enable0RTT: boolean;
  /** File that TLS secrets are appended to, for debugging; empty: none. */
  readonly keyLog: string;
}

export interface BackendConfig {
  /** PEM file of authorities to trust besides the system's. */
  readonly caCert: string;
  /** Do not check origins' certificates. */
  readonly insecureSkipVerify: boolean;
  /** Sent with every request to an origin; may hold credentials. */
  readonly requestHeader: Readonly<Record<string, string>>;
  readonly maxRetries: number;
  /** Compare whole files with what their origins say their digests are. */
  readonly verifyDigest: boolean;
}
