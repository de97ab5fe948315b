import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createSchedulerClient } from "@damselfly/rpc";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { loadSettings } from "@damselfly/settings";
import type { TlsIdentity } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runScheduler } from "./run-scheduler.ts";
import { DEFAULT_SCHEDULER_CONFIG } from "./scheduler-config.ts";
import { settingsSchema } from "./settings.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-scheduler-"));
});
afterEach(() => rm(directory, { recursive: true }));

/** A dfscheduler in this process. */
class Run {
  stdout = "";
  stderr = "";
  reload: () => void = () => {};
  readonly exitCode: Promise<number>;
  readonly #controller = new AbortController();

  constructor(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.exitCode = runScheduler(argv, {
      stdout: { write: (text) => (this.stdout += text) },
      stderr: { write: (text) => (this.stderr += text) },
      env: { DFSCHEDULER_SERVER_PORT: "0", ...env },
      signal: this.#controller.signal,
      onReload: (reload) => {
        this.reload = reload;
      },
    });
  }

  /** Where it says it is ready. */
  async ready(): Promise<{ ip: string; port: number; how: string }> {
    const readyLine = /is ready at (\S+):(\d+) \((.+)\)/;
    await expect
      .poll(() => this.stdout + this.stderr, { interval: 5, timeout: 20_000 })
      .toMatch(readyLine);
    const [, ip = "", port, how = ""] = readyLine.exec(this.stdout) ?? [];
    return { ip, port: Number(port), how };
  }

  async stop(): Promise<number> {
    this.#controller.abort();
    return await this.exitCode;
  }
}

async function write(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

async function writeIdentity(
  identity: TlsIdentity,
): Promise<Record<"caCert" | "cert" | "key", string>> {
  return {
    caCert: await write("ca.pem", identity.caCert),
    cert: await write("node.pem", identity.cert),
    key: await write("node-key.pem", identity.key),
  };
}

describe("dfscheduler", () => {
  it("serves until it is told to stop, and says where", async () => {
    const run = new Run([]);
    const { ip, port, how } = await run.ready();
    expect([ip, how]).toEqual(["127.0.0.1", "plain"]);
    await using client = createSchedulerClient({ ip, port });
    expect((await client.listHosts({})).hosts).toEqual([]);
    expect(await run.stop()).toBe(0);
    await expect(client.listHosts({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("starts beside a Service of Kubernetes that is called dfscheduler", async () => {
    const run = new Run([], {
      DFSCHEDULER_SERVICE_HOST: "10.0.0.1",
      DFSCHEDULER_SERVICE_PORT: "8002",
      DFSCHEDULER_SERVICE_PORT_GRPC: "8002",
      DFSCHEDULER_PORT: "tcp://10.0.0.1:8002",
      DFSCHEDULER_PORT_8002_TCP: "tcp://10.0.0.1:8002",
      DFSCHEDULER_PORT_8002_TCP_PROTO: "tcp",
      DFSCHEDULER_PORT_8002_TCP_PORT: "8002",
      DFSCHEDULER_PORT_8002_TCP_ADDR: "10.0.0.1",
    });
    await run.ready();
    expect(run.stderr).not.toContain("names no known setting");
    expect(await run.stop()).toBe(0);
  });

  it("serves loopback only without certificates, and says so", async () => {
    const path = await write("scheduler.yaml", "server: { listenIP: 0.0.0.0, port: 0 }");
    const run = new Run(["--config", path]);
    expect((await run.ready()).ip).toBe("127.0.0.1");
    expect(run.stderr).toContain("only this machine is served, on 127.0.0.1");
    await run.stop();
  });

  it("serves everybody without certificates when told to, and says so", async () => {
    const path = await write(
      "scheduler.yaml",
      "security: { insecure: true }\nserver: { advertiseIP: 10.1.2.3 }",
    );
    const run = new Run(["-c", path, "--console"]);
    expect((await run.ready()).ip).toBe("10.1.2.3");
    expect(run.stderr).toMatch(
      /^\[[0-9:.]{12}\] WARN: security\.insecure: everybody who reaches 0\.0\.0\.0 is served/,
    );
    await run.stop();
  });

  it("speaks mutual TLS with certificates", async () => {
    const authority = await createTestAuthority();
    const files = await writeIdentity(await authority.issue());
    const path = await write(
      "scheduler.yaml",
      JSON.stringify({ security: files, server: { listenIP: "127.0.0.1" } }),
    );
    const run = new Run(["-c", path]);
    const { how, ...address } = await run.ready();
    expect(how).toBe("mutual TLS");
    await using plain = createSchedulerClient(address);
    await using secure = createSchedulerClient(address, { tls: await authority.issue() });
    await expect(plain.listHosts({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect((await secure.listHosts({})).hosts).toEqual([]);
    await run.stop();
  });

  it("shows a new certificate, and keeps out whom the list names, without being started anew", async () => {
    const authority = await createTestAuthority();
    const [first, next, child] = await Promise.all([
      authority.issue(),
      authority.issue(),
      authority.issue(),
    ]);
    const revoked = await write("revoked.txt", "");
    const security = { ...(await writeIdentity(first)), revoked };
    const server = { listenIP: "127.0.0.1" };
    const run = new Run(["-c", await write("a.yaml", JSON.stringify({ security, server }))]);
    const address = await run.ready();
    await using client = createSchedulerClient(address, { tls: child });
    expect((await client.listHosts({})).hosts).toEqual([]);
    const shown = (): string => new X509Certificate(client.serverCertificates![0]!).serialNumber;
    expect(shown()).toBe(new X509Certificate(first.cert).serialNumber);

    await writeIdentity(next);
    run.reload();
    await expect.poll(() => run.stderr).toContain("a new certificate is in use");
    expect((await client.listHosts({})).hosts).toEqual([]); // on the connection that runs
    await using other = createSchedulerClient(address, { tls: child });
    await other.listHosts({});
    const { serialNumber } = new X509Certificate(next.cert);
    expect(new X509Certificate(other.serverCertificates![0]!).serialNumber).toBe(serialNumber);

    await write("revoked.txt", new X509Certificate(child.cert).serialNumber);
    run.reload();
    await expect.poll(() => run.stderr).toContain("is revoked");
    for (const each of [client, other])
      await expect(each.listHosts({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await run.stop();
  });

  it("serves plain peers beside TLS only when told to", async () => {
    const authority = await createTestAuthority();
    const files = await writeIdentity(await authority.issue());
    const security = { ...files, plainPeers: true };
    const run = new Run(["-c", await write("a.yaml", JSON.stringify({ security }))]);
    expect((await run.ready()).how).toBe("mutual TLS and plain");
    expect(run.stderr).toContain("security.plainPeers: daemons without a certificate");
    await run.stop();
    const other = new Run([
      "-c",
      await write("b.yaml", JSON.stringify({ server: { tls: files } })),
    ]);
    expect((await other.ready()).how).toBe("mutual TLS");
    await other.stop();
  });

  it("says that security.insecure does nothing next to certificates", async () => {
    const files = await writeIdentity(await (await createTestAuthority()).issue());
    const run = new Run([
      "-c",
      await write("a.yaml", JSON.stringify({ security: { ...files, insecure: true } })),
    ]);
    expect((await run.ready()).how).toBe("mutual TLS");
    expect(run.stderr).toContain("security.insecure has no effect");
    await run.stop();
  });

  it("starts with IPv6, and brackets it", async () => {
    const run = new Run([], { DFSCHEDULER_SERVER_LISTEN_IP: "::1" });
    const { ip } = await run.ready();
    expect(ip).toBe("[::1]");
    await run.stop();
  });

  it.each([
    [
      "a certificate without its key",
      { security: { caCert: "ca.pem", cert: "node.pem" } },
      /security\.key is missing/,
    ],
    [
      "a file that is not there",
      { server: { tls: { caCert: "/no/ca.pem", cert: "/no/c.pem", key: "/no/k.pem" } } },
      /\/no\/.*\.pem \(server\.tls\.\w+\) cannot be read/, // whichever is tried first
    ],
    [
      "half a section for seeds",
      { seedPeer: { tls: { caCert: "ca.pem" } } },
      /seedPeer\.tls\.cert and seedPeer\.tls\.key are missing/,
    ],
    [
      "a misspelt key",
      { server: { listnIP: "127.0.0.1" } },
      /server\.listnIP is no known key .*nearest one is server\.listenIP/,
    ],
    [
      "a wrong value",
      { server: { listenIP: "here" } },
      /server\.listenIP: wanted an IP address, got 'here'/,
    ],
    [
      "a retry interval without a unit",
      { scheduler: { retryInterval: 500 } },
      /scheduler\.retryInterval/,
    ],
  ])("does not start with %s", async (_, settings, message) => {
    const run = new Run(["-c", await write("scheduler.yaml", JSON.stringify(settings))]);
    expect(await run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/^dfscheduler: Cannot /);
    expect(run.stderr).toMatch(message);
    expect(run.stdout).toBe("");
  });

  it("does not start without the file that was asked for", async () => {
    const run = new Run(["-c", join(directory, "missing.yaml")]);
    expect(await run.exitCode).toBe(1);
    expect(run.stderr).toContain("missing.yaml: there is no such file");
  });

  it("does not start where somebody listens already", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const address = other.address();
    const port = typeof address === "object" ? String(address?.port) : "";
    try {
      const run = new Run([], { DFSCHEDULER_SERVER_PORT: port });
      expect(await run.exitCode).toBe(1);
      expect(run.stderr).toContain(
        `dfscheduler: Cannot serve at 127.0.0.1:${port}: another process is serving there\n`,
      );
    } finally {
      other.close();
    }
  });

  it.each([
    [["--consle"], "Cannot use --consle: there is no such flag; did you mean --console?"],
    [["--wat"], "Cannot use --wat: there is no such flag; see dfscheduler --help"],
    [["start"], "Cannot use 'start': expected a flag"],
    [["-c"], "Cannot use -c: its value is missing"],
    [["--console=yes"], "Cannot use --console: it takes no value, got 'yes'"],
    [
      ["-l", "loud"],
      "Cannot use log level 'loud': expected one of trace, debug, info, warn, error",
    ],
  ])("says what is wrong with %j", async (argv, message) => {
    const run = new Run(argv);
    expect(await run.exitCode).toBe(2);
    expect(run.stderr).toContain(message);
  });

  it("prints its help and its version", async () => {
    const [help, version] = [new Run(["-h"]), new Run(["-V"])];
    expect([await help.exitCode, await version.exitCode]).toEqual([0, 0]);
    expect(help.stdout).toContain("-c, --config FILE");
    expect(version.stdout).toMatch(/^dfscheduler \d+\.\d+\.\d+\n$/);
  });

  it("logs what was asked for, from the environment too", async () => {
    const run = new Run([], { DFSCHEDULER_LOG_LEVEL: "error", DFSCHEDULER_CONSOLE: "true" });
    await run.ready();
    expect(run.stderr).toBe("");
    await run.stop();
  });
});

describe("config/scheduler.yaml", () => {
  const path = fileURLToPath(new URL("../../../config/scheduler.yaml", import.meta.url));

  it("says the defaults, and nothing that is not known", async () => {
    const options = { schema: settingsSchema, envPrefix: "DFSCHEDULER" };
    const example = await loadSettings({ ...options, path, required: true });
    const empty = await loadSettings(options);
    expect(example.warnings).toEqual([]);
    expect(example.settings).toEqual(empty.settings);
    expect(example.sources.size).toBeGreaterThan(20);
  });

  it("agrees with the defaults of the embedded scheduler", async () => {
    const { settings } = await loadSettings({ schema: settingsSchema, envPrefix: "DFSCHEDULER" });
    const { scheduler } = settings;
    expect({
      retryLimit: scheduler.retryLimit,
      retryBackToSourceLimit: scheduler.retryBackToSourceLimit,
      retryIntervalMs: scheduler.retryInterval,
      backToSourceCount: scheduler.backToSourceCount,
      originLeaseMs: scheduler.originLease,
      pieceDownloadTimeoutMs: scheduler.gc.pieceDownloadTimeout,
      gcIntervalMs: scheduler.gc.peerGCInterval,
      peerTtlMs: scheduler.gc.peerTTL,
      hostTtlMs: scheduler.gc.hostTTL,
    }).toEqual(
      Object.fromEntries(
        Object.entries(DEFAULT_SCHEDULER_CONFIG).filter(([name]) =>
          [
            "retryLimit",
            "retryBackToSourceLimit",
            "retryIntervalMs",
            "backToSourceCount",
            "originLeaseMs",
            "pieceDownloadTimeoutMs",
            "gcIntervalMs",
            "peerTtlMs",
            "hostTtlMs",
          ].includes(name),
        ),
      ),
    );
    expect(readFileSync(path, "utf8")).not.toContain("\t");
  });

  it("takes what Dragonfly's scheduler.yaml has besides", async () => {
    const theirs = await write(
      "scheduler.yaml",
      "server:\n  host: s1\n  advertisePort: 8002\n  logDir: /var/log\nmanager: { addr: 'm:65003' }\ndatabase: { redis: {} }\nscheduler: { algorithm: default }\nmetrics: { enable: true }\nverbose: false\n",
    );
    const { warnings } = await loadSettings({
      schema: settingsSchema,
      envPrefix: "DFSCHEDULER",
      path: theirs,
    });
    expect(warnings).toEqual([]);
  });
});
