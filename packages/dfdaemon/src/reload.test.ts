import { X509Certificate } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDfdaemonDownloadClient, createHealthClient } from "@damselfly/rpc";
import { formatSerial, type TlsIdentity } from "@damselfly/transport";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "./testing/origin-server.ts";
import {
  findFreePort,
  openDaemonBench,
  type DaemonBench,
  type DaemonInTest,
} from "./testing/running-daemon.ts";

const CONTENT = seededContent(2 * 4 * 2 ** 20 + 5);

let origin: OriginServer;
let bench: DaemonBench;
beforeAll(async () => {
  origin = await openOriginServer();
  bench = await openDaemonBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

const serialOf = ({ cert }: Pick<TlsIdentity, "cert">): string =>
  formatSerial(new X509Certificate(cert).serialNumber);
const pathOf = (name: string, field: string): string =>
  join(bench.directory, "certs", `${name}-${field}.pem`);

async function replaceFiles(name: string, identity: TlsIdentity): Promise<void> {
  for (const field of ["cert", "key"] as const)
    await writeFile(pathOf(name, field), identity[field]);
}

/** The serial number that a daemon shows on a new connection. */
async function shownBy(daemon: DaemonInTest): Promise<string> {
  await using client = createHealthClient(daemon.upload, { tls: await bench.identity("looker") });
  await client.check({ service: "" });
  return formatSerial(new X509Certificate(client.serverCertificates![0]!).serialNumber);
}

/** Downloads a file of its own name. @returns from whom its pieces came; empty texts for the origin */
async function download(daemon: DaemonInTest, name: string): Promise<string[]> {
  origin.set(`/${name}`, { content: CONTENT });
  await using client = createDfdaemonDownloadClient(daemon);
  const parents: string[] = [];
  for await (const response of client.downloadTask({
    download: { url: `${origin.url}/${name}` },
  })) {
    const piece = response.downloadPieceFinishedResponse?.piece;
    if (piece) parents.push(piece.parentId ?? "");
  }
  return parents;
}

describe("a daemon whose certificates change", () => {
  it("shows the new one without being started anew, tells metrics of it, and keeps out who is revoked", async () => {
    const revoked = join(bench.directory, "revoked.txt");
    await writeFile(revoked, "");
    const metricsPort = await findFreePort();
    const parent = await bench.start(
      "parent",
      {
        "scheduler.embedded": true,
        "scheduler.port": 0,
        "security.revoked": revoked,
        "metrics.server.port": metricsPort,
      },
      { tls: true },
    );
    const { ip, port } = parent.schedulerAddress!;
    const child = await bench.start(
      "child",
      { "scheduler.addrs": [`${ip}:${port}`] },
      { tls: true },
    );
    const metrics = async (): Promise<string> =>
      await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const first = await readFile(pathOf("parent", "cert"), "utf8");
    expect(await shownBy(parent)).toBe(serialOf({ cert: first }));
    await download(parent, "one");
    expect(await download(child, "one")).toEqual([parent.hostId, parent.hostId, parent.hostId]);

    const next = await bench.identity("parent");
    await replaceFiles("parent", next);
    await parent.reload();
    expect(await shownBy(parent)).toBe(serialOf(next));
    expect(parent.log).toContainEqual(expect.stringMatching(/^info a new certificate is in use/));
    await download(parent, "two");
    expect(await download(child, "two")).toEqual([parent.hostId, parent.hostId, parent.hostId]);
    const end = Date.parse(new X509Certificate(next.cert).validTo) / 1_000;
    expect(await metrics()).toContain(
      `damselfly_certificate_expiry_timestamp_seconds{setting="security.cert",serial="${serialOf(next)}"} ${end}`,
    );
    expect(await metrics()).toContain('damselfly_certificate_reloads_total{result="taken"} 1');

    await download(parent, "three");
    await writeFile(revoked, serialOf({ cert: await readFile(pathOf("child", "cert"), "utf8") }));
    await parent.reload();
    expect(await metrics()).toContain("damselfly_revoked_certificates 1");
    // Neither the parent nor its scheduler lets it in: it is left to the origin.
    expect((await download(child, "three")).every((from) => from === "")).toBe(true);
    expect(parent.log).toContainEqual(
      expect.stringMatching(/^warn A (peer is refused|connection is closed).*\(child, serial/),
    );

    await replaceFiles("child", await bench.identity("child"));
    await child.reload();
    let count = 0;
    const comesFromParent = async (): Promise<boolean> => {
      const name = `again-${count++}`;
      await download(parent, name);
      return (await download(child, name)).every((from) => from === parent.hostId);
    };
    // The scheduler is asked again after a while.
    await expect.poll(comesFromParent, { timeout: 90_000, interval: 1_000 }).toBe(true);
    await child.stop();
    await parent.stop();
  }, 120_000);

  it("stays with what it has when the new files do not fit, and says which", async () => {
    const daemon = await bench.start("stays", { "scheduler.embedded": false }, { tls: true });
    const before = await shownBy(daemon);
    await writeFile(pathOf("stays", "key"), (await bench.identity("stays")).key);
    await daemon.reload();
    await daemon.reload();
    expect(daemon.log).toContainEqual(
      expect.stringMatching(/^error .*stays-key\.pem .*What was in use stays in use$/),
    );
    expect(await shownBy(daemon)).toBe(before);
    await daemon.stop();
  });

  it("does not start on a certificate that is revoked", async () => {
    const revoked = join(bench.directory, "all.txt");
    const daemon = await bench.start("known", { "scheduler.embedded": false }, { tls: true });
    await daemon.stop();
    await writeFile(revoked, serialOf({ cert: await readFile(pathOf("known", "cert"), "utf8") }));
    const paths = Object.fromEntries(
      ["caCert", "cert", "key"].map((field) => [`security.${field}`, pathOf("known", field)]),
    );
    await expect(
      bench.start("known", { ...paths, "security.revoked": revoked }),
    ).rejects.toMatchObject({
      code: "ERR_SETTINGS_TLS",
      message: expect.stringMatching(/known-cert\.pem \(security\.cert\) is revoked/),
    });
  });
});
