import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { loadConfig, type LoadedConfig } from "./load-config.ts";

/** What Dragonfly's Helm chart makes of its default values for a client; source: dragonflyoss/helm-charts@12bf3a2, values.yaml. */
const CHART = `
host: { schedulerClusterID: 1, idc: "", location: "" }
server:
  pluginDir: /usr/local/lib/dragonfly/plugins/dfdaemon/
  adaptiveRateLimit: { bucketCount: 50, bucketInterval: 200ms, cpuThreshold: 100, memoryThreshold: 90, shedCooldown: 5s, collectInterval: 3s }
download:
  protocol: tcp
  server: { socketPath: /var/run/dragonfly/dfdaemon.sock, requestRateLimit: 50, requestbufferSize: 20 }
  bandwidthLimit: 50GB
  backToSourceBandwidthLimit: 50GB
  pieceTimeout: 360s
  collectedPieceTimeout: 360s
  concurrentPieceCount: 16
upload:
  server: { port: 4000, requestRateLimit: 200, requestbufferSize: 1000 }
  disableShared: false
  bandwidthLimit: 50GB
manager:
  addr: http://dragonfly-manager.dragonfly-system.svc.cluster.local:65003
scheduler: { announceInterval: 5m, scheduleTimeout: 3h, maxScheduleCount: 5, enableBackToSource: true }
dynconfig: { refreshInterval: 5m }
storage:
  server: { tcpPort: 4005, quicPort: 4006 }
  dir: /var/lib/dragonfly/
  keep: true
  writeBufferSize: 524288
  readBufferSize: 524288
  writePieceTimeout: 360s
gc:
  interval: 900s
  policy: { taskTTL: 720h, persistentTaskTTL: 24h, persistentCacheTaskTTL: 24h, distHighThresholdPercent: 90, distLowThresholdPercent: 70 }
proxy:
  server: { port: 4001, requestRateLimit: 50 }
  rules: [{ regex: blobs/sha256.* }]
  registryMirror: { addr: https://index.docker.io, enableTaskIDBasedBlobDigest: true }
  disableBackToSource: false
  prefetch: true
  prefetchBandwidthLimit: 10GB
  readBufferSize: 524288
health: { server: { port: 4003 } }
metrics: { server: { port: 4002 } }
stats: { server: { port: 4004 } }
tracing: { protocol: "" }
backend: { requestHeader: {}, maxRetries: 1, enableCacheTemporaryRedirect: true, cacheTemporaryRedirectTTL: 600s, putConcurrentChunkCount: 16, putChunkSize: 8MiB, putTimeout: 900s }
network: { enableIPv6: false }
`;

/** Every key of Dragonfly's reference, and every one that it once had, each with a value its daemon takes; source: dfdaemon.rs, 1.5.10. */
const VALUES: Readonly<Record<string, readonly unknown[]>> = {
  "host.idc": ["dc-1", "", null],
  "host.location": ["eu|hall-2"],
  "host.hostname": ["n1", ""],
  "host.ip": ["10.0.0.1", "fd00::1"],
  "host.schedulerClusterID": [0, 7],
  "server.pluginDir": ["/p"],
  "server.cacheDir": ["/c"],
  "server.adaptiveRateLimit": [{ bucketCount: 50, cpuThreshold: 90 }, null],
  "download.server.socketPath": ["/run/x.sock"],
  "download.server.requestRateLimit": [400],
  "download.server.requestBufferSize": [50],
  "download.protocol": ["tcp", "quic"],
  "download.bandwidthLimit": ["50GB", "1.5GiB", "10 mb", 1_000_000],
  "download.backToSourceBandwidthLimit": ["20GB"],
  "download.rateLimit": ["10GiB"],
  "download.parentSelector": [{ enable: true, syncInterval: "3s" }],
  "download.pieceTimeout": ["40s", "6min", "1h 30m"],
  "download.collectedPieceTimeout": ["5s"],
  "download.concurrentPieceCount": [1, 64],
  "download.backToSourceConcurrentPieceCount": [4],
  "upload.server.ip": ["0.0.0.0", "::"],
  "upload.server.port": [4010],
  "upload.server.caCert": ["/ca"],
  "upload.server.cert": ["/cert"],
  "upload.server.key": ["/key"],
  "upload.server.requestRateLimit": [400],
  "upload.server.requestBufferSize": [50],
  "upload.server.protocol": ["grpc"],
  "upload.client.caCert": ["/ca"],
  "upload.client.cert": ["/cert"],
  "upload.client.key": ["/key"],
  "upload.disableShared": [true],
  "upload.bandwidthLimit": ["10GB"],
  "upload.rateLimit": ["10GB"],
  "manager.addr": ["http://manager:65003", ""],
  "manager.addrs": [["http://manager:65003"]],
  "manager.caCert": ["/ca"],
  "manager.cert": ["/cert"],
  "manager.key": ["/key"],
  "scheduler.announceInterval": ["10s"],
  "scheduler.scheduleTimeout": ["30s"],
  "scheduler.maxScheduleCount": [3],
  "scheduler.enableBackToSource": [true],
  "scheduler.caCert": ["/ca"],
  "scheduler.cert": ["/cert"],
  "scheduler.key": ["/key"],
  "seedPeer.enable": [true],
  "seedPeer.type": ["normal", "super"],
  "seedPeer.clusterID": [1],
  "seedPeer.keepaliveInterval": ["15s"],
  "dynconfig.refreshInterval": ["1m"],
  "storage.server.ip": ["10.0.0.1"],
  "storage.server.tcpPort": [4105],
  "storage.server.tcpFastopen": [true],
  "storage.server.quicPort": [4106],
  "storage.server.protocol": ["quic"],
  "storage.dir": ["/data"],
  "storage.keep": [false],
  "storage.writePieceTimeout": ["20s"],
  "storage.writeBufferSize": [131_072],
  "storage.readBufferSize": [131_072],
  "storage.writebackMode": ["sync", "async", "off"],
  "storage.cacheCapacity": ["256MB"],
  "backend.requestHeader": [{ "X-A": "b" }, {}, null],
  "backend.maxRetries": [0, 1000],
  "backend.enableCacheTemporaryRedirect": [false],
  "backend.cacheTemporaryRedirectTTL": ["10m"],
  "backend.putConcurrentChunkCount": [16],
  "backend.putChunkSize": ["8MiB"],
  "backend.putTimeout": ["15m"],
  "backend.enableHickoryDNS": [true],
  "gc.interval": ["15m"],
  "gc.policy.taskTTL": ["30days", "720h", "21600s"],
  "gc.policy.persistentTaskTTL": ["1d"],
  "gc.policy.persistentCacheTaskTTL": ["1d"],
  "gc.policy.pageCacheIdleTimeout": ["40m"],
  "gc.policy.diskThreshold": ["100GiB", 0],
  "gc.policy.diskHighThresholdPercent": [50],
  "gc.policy.diskLowThresholdPercent": [90],
  "gc.policy.distThreshold": ["100GiB"],
  "gc.policy.distHighThresholdPercent": [99],
  "gc.policy.distLowThresholdPercent": [1],
  "proxy.server.ip": ["0.0.0.0"],
  "proxy.server.port": [4001],
  "proxy.server.requestRateLimit": [4000],
  "proxy.server.caCert": ["/ca"],
  "proxy.server.caKey": ["/key"],
  "proxy.server.basicAuth": [{ username: "a", password: "geheim" }],
  "proxy.rules": [[{ regex: "x", useTLS: true, redirect: "y", schedulingPolicy: "always" }]],
  "proxy.registryMirror": [{ addr: "https://r", cert: "/c", certs: "/c" }],
  "proxy.disableBackToSource": [true],
  "proxy.prefetch": [true],
  "proxy.prefetchBandwidthLimit": ["10GB"],
  "proxy.prefetchRateLimit": ["10GB"],
  "proxy.readBufferSize": [32_768],
  "security.enable": [true],
  "health.server.ip": ["::"],
  "health.server.port": [5003],
  "metrics.server.ip": ["127.0.0.1"],
  "metrics.server.port": [5002],
  "stats.server.ip": ["127.0.0.1"],
  "stats.server.port": [5004],
  "tracing.protocol": ["grpc", ""],
  "tracing.endpoint": ["collector:4317"],
  "tracing.path": ["/v1/traces"],
  "tracing.headers": [{ authorization: "geheim" }],
  "tracing.addr": ["http://collector"],
  "tracing.flamegraph": [false],
  "network.enableIPv6": [true],
  "log.level": ["info"],
  console: [true],
};

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "config-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function load(yaml: string): Promise<LoadedConfig> {
  const path = join(dir, "dfdaemon.yaml");
  await writeFile(path, yaml);
  return await loadConfig({ path, pathGiven: true });
}

describe("loadConfig, of Dragonfly's files", () => {
  it.each(Object.entries(VALUES))("takes every value of %s", async (path, values) => {
    for (const value of values) {
      let tree: unknown = value;
      for (const key of path.split(".").toReversed()) tree = { [key]: tree };
      const { warnings, inert, notes } = await load(stringify(tree));
      expect(warnings).toEqual([]);
      expect([...inert, ...notes].join("\n")).not.toContain("geheim");
    }
  });

  it("takes the Helm chart's as it is, and says in one block what it does not do", async () => {
    const { config, warnings, inert } = await load(CHART);
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      host: { hostname: hostname(), schedulerClusterID: 1 },
      download: { pieceTimeout: 360_000, concurrentPieceCount: 16 },
      upload: { server: { ip: "0.0.0.0", port: 4000 } },
      manager: { addr: "http://dragonfly-manager.dragonfly-system.svc.cluster.local:65003" },
      scheduler: { announceInterval: 300_000, scheduleTimeout: 10_800_000 },
      storage: { dir: "/var/lib/dragonfly/", keep: true, server: { quic: { port: 4006 } } },
      gc: {
        policy: {
          taskTTL: 2_592_000_000,
          diskHighThresholdPercent: 90,
          diskLowThresholdPercent: 70,
        },
      },
      health: { server: { ip: "0.0.0.0", port: 4003 } },
      metrics: { server: { ip: "0.0.0.0", port: 4002 } },
      stats: { server: { ip: "127.0.0.1", port: 4004 } },
    });
    expect(inert.length).toBeLessThan(12);
    expect(inert).toContain("proxy: there is no proxy");
    expect(inert.find((line) => line.includes("requestbufferSize"))).toBe(
      "download.server.requestbufferSize, upload.server.requestbufferSize, scheduler.enableBackToSource: " +
        "Dragonfly's own daemons of today do not heed it",
    );
  });

  it("says once what has to be set on purpose", async () => {
    const { notes } = await load(CHART.replace("keep: true", "").replace("rules:", "rules: #"));
    expect(notes.map((note) => note.split(":", 1)[0])).toEqual([
      "download.protocol is given",
      "storage.keep is not given",
      "download.server.socketMode is not given",
    ]);
    const all = await load(`${CHART}\nsecurity: { caCert: /ca, cert: /cert, key: /key }`);
    expect(all.notes.map((note) => note.split(/ (is|are) /, 1)[0])).toEqual([
      "proxy.rules",
      "download.protocol",
      "download.server.socketMode",
      "security.plainPeers",
    ]);
    const ours = await load(
      "scheduler: { addrs: ['10.0.0.1:8002'] }\nsecurity: { caCert: /ca, cert: /c, key: /k }",
    );
    expect(ours.notes).toEqual([]);
  });

  it("fetches over what download.protocol says, unless storage.server.protocol says otherwise", async () => {
    const protocolOf = async (yaml: string): Promise<string> =>
      (await load(yaml)).config.storage.server.protocol;
    expect(await protocolOf("download: { protocol: quic }")).toBe("quic");
    expect(await protocolOf("download: { protocol: tcp }")).toBe("tcp");
    expect(await protocolOf("")).toBe("auto");
    const both = "download: { protocol: tcp }\nstorage: { server: { protocol: auto } }";
    expect(await protocolOf(both)).toBe("auto");
    const { warnings, notes } = await load(both);
    expect(warnings).toEqual([
      expect.stringMatching(
        /^download\.protocol is ignored .*: storage\.server\.protocol is given$/,
      ),
    ]);
    expect(notes).toEqual([]);
  });

  it("listens on all addresses of IPv6 when told that there is one", async () => {
    const { config } = await load(
      "network: { enableIPv6: true }\nhealth: { server: { ip: '::1' } }",
    );
    expect(config.upload.server.ip).toBe("::");
    expect(config.storage.server.ip).toBe("::");
    expect(config.metrics.server.ip).toBe("::");
    expect(config.health.server.ip).toBe("::1");
  });

  it("takes Dragonfly's older spellings of the disk's thresholds, and lets the low one give way", async () => {
    const old = await load(
      "gc: { policy: { distThreshold: 10GiB, distHighThresholdPercent: 70, distLowThresholdPercent: 50 } }",
    );
    expect(old.config.gc.policy).toMatchObject({
      diskThreshold: 10 * 2 ** 30,
      diskHighThresholdPercent: 70,
      diskLowThresholdPercent: 50,
    });
    const { config } = await load("gc: { policy: { diskHighThresholdPercent: 40 } }");
    expect(config.gc.policy.diskLowThresholdPercent).toBe(40);
  });
});
