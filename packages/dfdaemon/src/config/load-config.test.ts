import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { formatVariable, knownSettings, valuesOf } from "@damselfly/settings";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Config } from "./config.ts";
import { configSchema } from "./config-schema.ts";
import { loadConfig, type LoadedConfig } from "./load-config.ts";
import { inertReason } from "./setting-types.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "config-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function load(yaml: string, env: Record<string, string> = {}): Promise<LoadedConfig> {
  const path = join(dir, "dfdaemon.yaml");
  await writeFile(path, yaml);
  return await loadConfig({ path, pathGiven: true, env });
}

async function configOf(yaml: string, env: Record<string, string> = {}): Promise<Config> {
  return (await load(yaml, env)).config;
}

describe("loadConfig", () => {
  it("starts without a file, on Dragonfly's ports and paths", async () => {
    const { config, ...said } = await loadConfig({ path: join(dir, "none") });
    expect(said).toEqual({ warnings: [], inert: [], notes: [] });
    expect(config).toMatchObject({
      host: { hostname: hostname(), idc: "", schedulerClusterID: 0 },
      download: {
        server: {
          socketPath: "/var/run/dragonfly/dfdaemon.sock",
          socketMode: 0o660,
          socketOwner: "",
          socketGroup: "",
        },
        pieceTimeout: 360_000,
        concurrentPieceCount: 8,
        backToSourceConcurrentPieceCount: 8,
      },
      upload: { server: { ip: "0.0.0.0", port: 4000, caCert: "" }, disableShared: false },
      scheduler: { addrs: [], embedded: "auto", announceInterval: 300_000 },
      seedPeer: { enable: false },
      storage: {
        dir: "/var/lib/dragonfly/",
        keep: true,
        server: {
          protocol: "auto",
          grpcPort: 4007,
          tcpPort: 4005,
          quic: { port: 4006, idleTimeout: 300_000, bufferSize: 4_194_304 },
        },
      },
      gc: {
        interval: 900_000,
        policy: {
          taskTTL: 2_592_000_000,
          diskHighThresholdPercent: 80,
          diskLowThresholdPercent: 60,
        },
      },
      security: { caCert: "", insecure: false, plainPeers: false },
      health: { server: { port: 4003 } },
      metrics: { server: { port: 4002 } },
      stats: { server: { port: 4004 } },
      idleExit: 0,
    });
    expect(config.host.ip).toMatch(/^[0-9a-f.:]+$/);
  });

  it("refuses a file that was asked for and is not there", async () => {
    await expect(loadConfig({ path: join(dir, "none"), pathGiven: true })).rejects.toMatchObject({
      code: "ERR_SETTINGS_FILE",
    });
  });

  it("takes our quic.port rather than Dragonfly's quicPort, and says so", async () => {
    const yaml = "storage: { server: { quicPort: 1, quic: { port: 2 } } }";
    const { config, warnings } = await load(yaml);
    expect(config.storage.server.quic.port).toBe(2);
    expect(warnings).toEqual([expect.stringMatching(/quicPort is ignored .*dfdaemon\.yaml:1/)]);
    expect(
      (await configOf(yaml, { DFDAEMON_STORAGE_SERVER_QUIC_PORT: "3" })).storage.server.quic.port,
    ).toBe(3);
  });

  it("takes snake_case for camelCase", async () => {
    const config = await configOf(
      "storage: { server: { grpc_port: 1, quic: { idle_timeout: 1h30m, enable_0rtt: false } } }\nsecurity: { plain_peers: true }",
    );
    expect(config.storage.server).toMatchObject({
      grpcPort: 1,
      quic: { idleTimeout: 5_400_000, enable0RTT: false },
    });
    expect(config.security.plainPeers).toBe(true);
  });

  it("takes flags over the environment over the file", async () => {
    const path = join(dir, "dfdaemon.yaml");
    await writeFile(path, "storage: { dir: /file }\nhost: { hostname: file }\nidleExit: 1s");
    const { config } = await loadConfig({
      path,
      env: { DFDAEMON_STORAGE_DIR: "/env", DFDAEMON_HOST_HOSTNAME: "env", DFDAEMON_CONFIG: path },
      flags: [{ flag: "--storage-dir", path: "storage.dir", value: "/flag" }],
    });
    expect([config.storage.dir, config.host.hostname, config.idleExit]).toEqual([
      "/flag",
      "env",
      1000,
    ]);
  });

  it("has an environment variable for every setting", async () => {
    const env = Object.fromEntries(
      valuesOf(knownSettings(configSchema)).map(({ keys }) => [
        formatVariable("DFDAEMON", keys),
        "?",
      ]),
    );
    const problems = await loadConfig({ path: join(dir, "none"), env }).catch((e: unknown) =>
      String(e),
    );
    expect(problems).not.toContain("names no known setting");
    expect(problems).toContain("storage.server.quic.port: wanted a number, got '?'");
    const { warnings } = await load("", {
      DFDAEMON_SCHEDULER_ADDRS: "10.0.0.1:8002, [::1]:8002",
      DFDAEMON_LOG_LEVEL: "debug",
      DFDAEMON_SERVICE_HOST: "10.0.0.1",
      DFDAEMON_PORT_65001_TCP_ADDR: "10.0.0.1",
      DFDAEMON_IMAGE_TAG: "v1",
    });
    expect(warnings).toEqual([
      "environment variable DFDAEMON_IMAGE_TAG names no known setting and is ignored",
    ]);
  });

  it("names the nearest key for a misspelt one, with its line", async () => {
    await expect(load("storage:\n  server:\n    protocl: quic\n")).rejects.toMatchObject({
      code: "ERR_SETTINGS_KEY",
      message: expect.stringMatching(
        /storage\.server\.protocl is no known key \(.*dfdaemon\.yaml:3\), the nearest one is storage\.server\.protocol/,
      ),
    });
  });

  it.each([
    ["storage: { server: { protocol: http } }", "wanted grpc, quic, tcp or auto, got 'http'"],
    ["storage: { server: { grpcPort: 70000 } }", "storage.server.grpcPort: wanted at most 65535"],
    ["storage: { server: { grpcPort: 4000 } }", "a port other than upload.server.port"],
    ["storage: { server: { tcpPort: 4000 } }", "a port other than upload.server.port"],
    ["storage: { server: { tcpPort: 4007 } }", "a port other than storage.server.grpcPort"],
    ["storage: { server: { quicPort: 4008 } }", "a port other than storage.server.quic.port"],
    [
      "storage: { server: { quic: { idleTimeout: 300 } } }",
      "wanted a duration of 1ms or more, got 300",
    ],
    [
      "download: { server: { socketMode: 0660 } }",
      "octal permissions in quotes, such as '0660', got 660",
    ],
    ["download: { server: { socketMode: '0990' } }", "octal permissions in quotes"],
    ["download: { concurrentPieceCount: 0 }", "wanted at least 1, got 0"],
    ["host: { ip: localhost }", "host.ip: wanted an IP address, got 'localhost'"],
    [
      "scheduler: { addrs: ['10.0.0.1'] }",
      "scheduler.addrs.0: wanted an address such as 10.0.0.1:8002",
    ],
    ["scheduler: { addrs: ['[nope]:1'] }", "an address such as"],
    ["scheduler: { addrs: ['a:0'] }", "an address such as"],
    ["scheduler: { embedded: maybe }", "wanted true or false or auto, got 'maybe'"],
    ["backend: { requestHeader: { Authorization: [1] } }", "(not shown)"],
    ["security: true", "security: wanted a section, got true"],
  ])("refuses %s", async (yaml, message) => {
    await expect(load(yaml)).rejects.toMatchObject({
      code: "ERR_SETTINGS_VALUE",
      message: expect.stringContaining(message),
    });
  });

  it("takes free ports for all servers at once", async () => {
    const config = await configOf(
      "upload: { server: { port: 0 } }\nstorage: { server: { grpcPort: 0, tcpPort: 0, quic: { port: 0, quinnPort: 0 } } }",
    );
    expect([config.upload.server.port, config.storage.server.grpcPort]).toEqual([0, 0]);
  });

  it("says of every setting without effect why", () => {
    for (const { keys, schema } of valuesOf(knownSettings(configSchema))) {
      const why = inertReason(schema);
      if (why !== undefined) expect(why, keys.join(".")).toMatch(/^\w.*[^.]$/);
    }
  });
});
