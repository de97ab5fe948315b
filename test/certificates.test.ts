import { existsSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256, useCluster, type Cluster } from "./support/daemon.ts";
import { untilAnnounced } from "./support/look.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const CONTENT = seededContent(3 * 4 * 2 ** 20 + 17);
const SHA256 = sha256(CONTENT);
const WAYS = [
  ["tcp", "auto"],
  ["grpc", "auto"],
  ["quic", "quiche"],
  ["quic", "quinn"],
] as const;

let origin: OriginServer;
let pathCount = 0;
beforeAll(async () => {
  origin = await openOriginServer();
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

function serve(): string {
  pathCount += 1;
  origin.set(`/file-${pathCount}`, { content: CONTENT });
  return `${origin.url}/file-${pathCount}`;
}

/** Runs `dfdaemon certs`. */
async function certs(cluster: Cluster, ...args: readonly string[]): Promise<string> {
  const child = cluster.spawn("dfdaemon", ["certs", ...args], { name: "certs" });
  const { code } = await child.exited;
  expect([code, child.lines.join("\n")]).toEqual([0, ""]);
  return child.stdout.toString();
}

describe("certificates made by hand", () => {
  const cluster = useCluster("file");
  const at = (name: string): string => join(cluster.directory, name);

  it("are renewed and revoked under daemons and a scheduler that run, by SIGHUP", async () => {
    await certs(cluster, "init", "--dir", at("pki"));
    for (const name of ["scheduler", "seed", "child"])
      await certs(cluster, "issue", "--dir", at("pki"), "--hostname", name, "--ip", "127.0.0.1");
    await writeFile(at("pki/revoked.txt"), "");
    const security = (name: string): Record<string, string> => ({
      caCert: at("pki/ca.pem"),
      cert: at(`pki/${name}.pem`),
      key: at(`pki/${name}-key.pem`),
      revoked: at("pki/revoked.txt"),
      // So long that it is the signal that is tested.
      reloadInterval: "1h",
    });
    const settings = (name: string): Record<string, string> =>
      Object.fromEntries(
        Object.entries(security(name)).map(([key, value]) => [`security.${key}`, value]),
      );
    const scheduler = await cluster.startScheduler({
      yaml: `security: ${JSON.stringify(security("scheduler"))}`,
    });
    const common = { scheduler: scheduler.address, protocol: "tcp" } as const;
    const seed = await cluster.startDaemon({
      ...common,
      name: "seed",
      seed: true,
      settings: settings("seed"),
    });
    const child = await cluster.startDaemon({
      ...common,
      name: "child",
      settings: settings("child"),
    });
    const identity = await identityAt(at("pki/child"), at("pki/ca.pem"));
    await untilAnnounced(scheduler, [seed, child], { tls: identity });
    const first = await cluster.fetch(serve(), { daemon: child });
    expect([first.sha256, Object.keys(first.fromParents)]).toEqual([SHA256, [seed.hostId]]);

    const all = ["scheduler", "seed", "child"].map((name) => at(`pki/${name}.pem`));
    await certs(cluster, "renew", ...all, "--dir", at("pki"));
    for (const each of [scheduler, seed, child]) each.child.kill("SIGHUP");
    for (const each of [seed, child]) await each.untilLogged("a new certificate is in use");
    await expect
      .poll(() => scheduler.log.map(({ msg }) => msg).join("\n"), { timeout: 30_000 })
      .toContain("a new certificate is in use");
    const second = await cluster.fetch(serve(), { daemon: child });
    expect([second.sha256, Object.keys(second.fromParents)]).toEqual([SHA256, [seed.hostId]]);

    const shown = await certs(cluster, "revoke", "--hostname", "child", "--dir", at("pki"));
    expect(shown.match(/^Revoked child/gm)).toHaveLength(2);
    for (const each of [scheduler, seed]) each.child.kill("SIGHUP");
    await seed.untilLogged("lists 2 revoked certificates");
    await expect
      .poll(() => scheduler.log.map(({ msg }) => msg).join("\n"), { timeout: 30_000 })
      .toContain("is revoked");
    const third = await cluster.fetch(serve(), { daemon: child });
    expect([third.sha256, third.fromOrigin]).toEqual([SHA256, CONTENT.byteLength]);
    // It was told itself only now.
    child.child.kill("SIGHUP");
    await child.untilLogged("child.pem (security.cert) is revoked");
  });
});

describe("TLS secrets", () => {
  const cluster = useCluster("test");
  const at = (name: string): string => join(cluster.directory, name);

  it.each(WAYS)(
    "are not written because of SSLKEYLOGFILE alone, over %s (%s)",
    async (protocol, backend) => {
      const env = { SSLKEYLOGFILE: at("keys.log") };
      const common = { tls: true, protocol, env } as const;
      const quic = { "storage.server.quic.backend": backend };
      const settings = { ...quic, "scheduler.embedded": true, "scheduler.port": 0 };
      const seed = await cluster.startDaemon({ ...common, name: "seed", seed: true, settings });
      const port = await embeddedPort(seed);
      const child = await cluster.startDaemon({
        ...common,
        name: "child",
        scheduler: `127.0.0.1:${port}`,
        settings: quic,
      });
      const url = serve();
      expect((await cluster.fetch(url, { daemon: seed })).sha256).toBe(SHA256);
      const done = await cluster.fetch(url, { daemon: child });
      expect([done.sha256, Object.keys(done.fromParents)]).toEqual([SHA256, [seed.hostId]]);
      expect(existsSync(at("keys.log"))).toBe(false);
    },
  );

  it("are written for QUIC where storage.server.quic.keyLog says so, for the owner alone, and loudly", async () => {
    const common = { tls: true, protocol: "quic" } as const;
    const keyLog = (name: string): Record<string, string | number | boolean> => ({
      "storage.server.quic.keyLog": at(`${name}.log`),
      "storage.server.quic.backend": "quiche",
    });
    const seed = await cluster.startDaemon({
      ...common,
      name: "seed",
      seed: true,
      settings: { ...keyLog("seed"), "scheduler.embedded": true, "scheduler.port": 0 },
    });
    await seed.untilLogged(`The TLS secrets of QUIC are written to ${at("seed.log")}`);
    const child = await cluster.startDaemon({
      ...common,
      name: "child",
      scheduler: `127.0.0.1:${await embeddedPort(seed)}`,
      settings: keyLog("child"),
    });
    const url = serve();
    await cluster.fetch(url, { daemon: seed });
    const done = await cluster.fetch(url, { daemon: child });
    expect(Object.keys(done.fromParents)).toEqual([seed.hostId]);
    const secret = /^(CLIENT|SERVER)_TRAFFIC_SECRET_0 ([0-9a-f]{64}) [0-9a-f]+$/gm;
    const secretsIn = async (name: string): Promise<Set<string>> => {
      expect((await stat(at(`${name}.log`))).mode & 0o777).toBe(0o600);
      const text = await readFile(at(`${name}.log`), "utf8");
      return new Set([...text.matchAll(secret)].map(([line]) => line));
    };
    // Both ends of the same connections.
    const [ofSeed, ofChild] = [await secretsIn("seed"), await secretsIn("child")];
    expect(ofChild.size).toBeGreaterThan(1);
    for (const line of ofChild) expect(ofSeed).toContain(line);
  });
});

async function embeddedPort(daemon: {
  untilLogged(text: string): Promise<{ readonly [field: string]: unknown }>;
}): Promise<number> {
  const { scheduler } = await daemon.untilLogged("embedded scheduler at");
  return Number(String(scheduler).split(":").at(-1));
}

async function identityAt(
  prefix: string,
  caCert: string,
): Promise<{ caCert: string; cert: string; key: string }> {
  const [ca, cert, key] = await Promise.all(
    [caCert, `${prefix}.pem`, `${prefix}-key.pem`].map((path) => readFile(path, "utf8")),
  );
  return { caCert: ca!, cert: cert!, key: key! };
}
