import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createDfdaemonDownloadClient } from "@damselfly/rpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TransportReport } from "./data-plane/transport-report.ts";
import { openOriginServer, seededContent, type OriginServer } from "./testing/origin-server.ts";
import {
  findFreePort,
  openDaemonBench,
  type DaemonBench,
  type DaemonInTest,
} from "./testing/running-daemon.ts";

const PIECE_COUNT = 6;
const CONTENT = seededContent((PIECE_COUNT - 1) * 4 * 2 ** 20 + 100_003);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

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

async function startPair(
  name: string,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<readonly [DaemonInTest, DaemonInTest]> {
  const options = { tls: true };
  const own = { "scheduler.embedded": true, "scheduler.port": 0 };
  const parent = await bench.start(`parent-${name}`, own, options);
  const { ip, port } = parent.schedulerAddress!;
  const others = { ...settings, "scheduler.addrs": [`${ip}:${port}`] };
  const child = await bench.start(`child-${name}`, others, options);
  return [parent, child];
}

/** Downloads a file at one daemon after the other; the last one must have it from the first. */
async function passOn([parent, child]: readonly [DaemonInTest, DaemonInTest], name: string) {
  origin.set(`/${name}`, { content: CONTENT });
  for (const daemon of [parent, child]) {
    const client = createDfdaemonDownloadClient(daemon);
    const outputPath = join(bench.directory, `${name}-${daemon.name}`);
    const parents: string[] = [];
    const download = { url: `${origin.url}/${name}`, outputPath };
    for await (const response of client.downloadTask({ download })) {
      const piece = response.downloadPieceFinishedResponse?.piece;
      if (piece) parents.push(piece.parentId ?? "");
    }
    await client[Symbol.asyncDispose]();
    expect(sha256(await readFile(outputPath))).toBe(sha256(CONTENT));
    if (daemon === child) expect(new Set(parents)).toEqual(new Set([parent.hostId]));
  }
}

async function reportOf(daemon: DaemonInTest): Promise<TransportReport> {
  const { ip, port } = daemon.statsAddress;
  const response = await fetch(`http://${ip}:${port}/api/transports`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/json");
  const report: TransportReport = JSON.parse(await response.text());
  return report;
}

describe("daemons that choose the protocol themselves", () => {
  it("give each other pieces, and show over what, and why", async () => {
    const [parent, child] = await startPair("plain");
    await passOn([parent, child], "plain");
    const report = await reportOf(child);
    expect(report.mode).toBe("auto");
    expect(report.offers.map(({ protocol }) => protocol)).toEqual(
      expect.arrayContaining(["tcp", "quic", "grpc"]),
    );
    const [known] = report.parents;
    expect(known).toMatchObject({ hostId: parent.hostId, ip: "127.0.0.1", runningCount: 0 });
    expect(known!.protocol).not.toBeNull();
    expect(known!.reason).not.toBe("");
    expect(report.protocols.reduce((sum, { byteCount }) => sum + byteCount, 0)).toBe(
      CONTENT.byteLength + report.doubledBytes,
    );
    expect(report.quic["quiche"]).toMatchObject({
      downloader: { totals: {}, connections: expect.any(Array) },
      server: { sentDatagramCount: expect.any(Number) },
    });
    expect(child.log).toContainEqual(
      expect.stringMatching(new RegExp(`^info parent ${parent.hostId}: (tcp|quic), `)),
    );
    const { ip, port } = child.statsAddress;
    const origins = await (await fetch(`http://${ip}:${port}/api/origins`)).text();
    expect(JSON.parse(origins)).toMatchObject({
      hosts: [{ origin: origin.url, state: "closed", failureCount: 0, faultCount: 0 }],
      openedCount: 0,
    });
    // Of what is asked for there it says nothing.
    expect(origins).not.toContain("/plain");
    for (const path of ["profile", "heap"]) {
      const answer = await fetch(`http://${ip}:${port}/debug/pprof/${path}`);
      expect([answer.status, await answer.text()]).toEqual([501, expect.stringMatching(/^there/)]);
    }
    expect((await fetch(`http://${ip}:${port}/other`)).status).toBe(404);
    await child.stop();
    await parent.stop();
  });

  it("show it to Prometheus too", async () => {
    const port = await findFreePort();
    const pair = await startPair("counted", { "metrics.server.port": port });
    await passOn(pair, "counted");
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
    const lines = (await answer.text()).split("\n");
    const bytes = lines
      .filter((line) => line.startsWith("damselfly_transport_received_bytes_total{"))
      .map((line) => Number(line.split(" ").at(-1)));
    expect(bytes.reduce((sum, each) => sum + each, 0)).toBeGreaterThanOrEqual(CONTENT.byteLength);
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^damselfly_transport_decisions_total{protocol="\w+",reason="first"} 1$/,
      ),
    );
    for (const daemon of pair.toReversed()) await daemon.stop();
  });
});
