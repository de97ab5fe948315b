import { createMemoryTransport, type PieceSource } from "@damselfly/transport";
import { describe, expect, it } from "vitest";
import { TrafficMeter } from "../host/traffic-meter.ts";
import { MeteredSource } from "./metered-source.ts";
import { createMetrics } from "./metrics.ts";
import { serveHttp } from "./serve-http.ts";

const BUILD = { version: "0.1.0", platform: "linux/x64" };

async function valueOf(
  registry: ReturnType<typeof createMetrics>["registry"],
  line: string,
): Promise<number> {
  const text = await registry.metrics();
  const found = text.split("\n").find((candidate) => candidate.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1));
}

describe("createMetrics", () => {
  it("counts tasks, their failures and those under way", async () => {
    const metrics = createMetrics(BUILD);
    for (const _ of [1, 2, 3]) metrics.taskStarted();
    metrics.taskEnded({ failed: false, durationMs: 5 });
    metrics.taskEnded({ failed: true, durationMs: 5 });
    const { registry } = metrics;
    expect(await valueOf(registry, "dragonfly_client_download_task_total")).toBe(3);
    expect(await valueOf(registry, "dragonfly_client_download_task_failure_total")).toBe(1);
    expect(await valueOf(registry, "dragonfly_client_concurrent_download_task_total")).toBe(1);
  });

  it("tells bytes by where they came from", async () => {
    const metrics = createMetrics(BUILD);
    metrics.pieceDownloaded({ trafficType: "REMOTE_PEER", length: 10, costMs: 1 });
    metrics.pieceDownloaded({ trafficType: "REMOTE_PEER", length: 5, costMs: 1 });
    metrics.pieceDownloaded({ trafficType: "BACK_TO_SOURCE", length: 7, costMs: 1 });
    const name = "dragonfly_client_download_traffic";
    expect(await valueOf(metrics.registry, `${name}{type="REMOTE_PEER"}`)).toBe(15);
    expect(await valueOf(metrics.registry, `${name}{type="BACK_TO_SOURCE"}`)).toBe(7);
  });
});

describe("MeteredSource", () => {
  it("counts what was really served, also of a piece that was left early", async () => {
    const metrics = createMetrics(BUILD);
    const meter = new TrafficMeter();
    const chunks = [Buffer.alloc(100), Buffer.alloc(100)];
    const inner: PieceSource = {
      async openPiece() {
        async function* content(): AsyncGenerator<Uint8Array> {
          yield* chunks;
        }
        const piece = { number: 0, offset: 0, length: 200, digest: "crc32:0" };
        return { piece, content: content(), async [Symbol.asyncDispose]() {} };
      },
    };
    const network = createMemoryTransport();
    const server = network.servePieces({ source: new MeteredSource(inner, { meter, metrics }) });
    const downloader = network.createDownloader();
    try {
      const request = { taskId: "0".repeat(64), pieceNumber: 0 };
      const whole = await downloader.downloadPiece(server.parent, request);
      for await (const _ of whole.content);
      const part = await downloader.downloadPiece(server.parent, request);
      for await (const _ of part.content) break;
      const { registry } = metrics;
      await expect
        .poll(() => valueOf(registry, "dragonfly_client_concurrent_upload_piece_total"))
        .toBe(0);
      expect(await valueOf(registry, "dragonfly_client_upload_traffic")).toBe(300);
      expect(meter.rates().txBitsPerSecond).toBeGreaterThan(0);
    } finally {
      await downloader[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    }
  });
});

describe("serveHttp", () => {
  const pages = new Map([
    ["/healthy", { contentType: "text/plain", render: async () => "ok\n" }],
    [
      "/broken",
      {
        contentType: "text/plain",
        render: async () => {
          throw new Error("on fire");
        },
      },
    ],
  ]);

  it("answers what is there, and says what is not", async () => {
    const server = await serveHttp("health", { ip: "127.0.0.1", port: 0 }, pages);
    try {
      const url = `http://127.0.0.1:${server.address.port}`;
      const healthy = await fetch(`${url}/healthy?x=1`);
      expect([healthy.status, await healthy.text()]).toEqual([200, "ok\n"]);
      expect((await fetch(`${url}/other`)).status).toBe(404);
      expect((await fetch(`${url}/healthy`, { method: "POST" })).status).toBe(405);
      const broken = await fetch(`${url}/broken`);
      expect([broken.status, await broken.text()]).toEqual([500, "on fire\n"]);
    } finally {
      await server[Symbol.asyncDispose]();
    }
  });

  it("says which port is busy", async () => {
    const server = await serveHttp("health", { ip: "127.0.0.1", port: 0 }, pages);
    try {
      await expect(serveHttp("metrics", server.address, pages)).rejects.toMatchObject({
        code: "ERR_LISTEN",
        message: expect.stringContaining(
          `Cannot serve metrics at 127.0.0.1:${server.address.port}`,
        ),
      });
    } finally {
      await server[Symbol.asyncDispose]();
    }
  });
});
