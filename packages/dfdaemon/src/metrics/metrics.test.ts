import { tmpdir } from "node:os";
import { createMemoryTransport, type PieceSource } from "@damselfly/transport";
import { describe, expect, it } from "vitest";
import { TrafficMeter } from "../host/traffic-meter.ts";
import { MeteredSource } from "./metered-source.ts";
import { createMetrics } from "./metrics.ts";
import { serveHttp } from "./serve-http.ts";

const BUILD = { version: "0.1.0", platform: "linux/x64" };
const LABELS = { type: "0", tag: "t", app: "a", priority: "6" };

async function valueOf(
  registry: ReturnType<typeof createMetrics>["registry"],
  line: string,
): Promise<number> {
  const text = await registry.metrics();
  const found = text.split("\n").find((candidate) => candidate.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1));
}

describe("createMetrics", () => {
  it("counts downloads by who asked, their failures, those under way and those that were blocked", async () => {
    const metrics = createMetrics(BUILD);
    for (const _ of [1, 2, 3, 4]) metrics.taskStarted(LABELS);
    metrics.taskEnded(LABELS, { kind: "done", length: 5 * 2 ** 20, durationMs: 5 });
    metrics.taskEnded(LABELS, { kind: "failed" });
    metrics.taskBlocked(LABELS);
    metrics.taskEnded(LABELS, { kind: "left" });
    const { registry } = metrics;
    const of = '{type="0",tag="t",app="a",priority="6"}';
    expect(await valueOf(registry, `dragonfly_client_download_task_total${of}`)).toBe(4);
    expect(await valueOf(registry, `dragonfly_client_download_task_failure_total${of}`)).toBe(1);
    expect(await valueOf(registry, `dragonfly_client_concurrent_download_task_total${of}`)).toBe(1);
    expect(await valueOf(registry, 'dragonfly_client_download_task_blocked_total{type="0"}')).toBe(
      1,
    );
    const duration = "dragonfly_client_download_task_duration_milliseconds";
    expect(await valueOf(registry, `${duration}_count{task_type="0",task_size_level="3"}`)).toBe(1);
    expect(
      await valueOf(registry, `${duration}_bucket{le="8",task_type="0",task_size_level="3"}`),
    ).toBe(1);
  });

  it("tells bytes by where they came from", async () => {
    const metrics = createMetrics(BUILD);
    metrics.pieceDownloaded({ trafficType: "REMOTE_PEER", length: 10, costMs: 1 });
    metrics.pieceDownloaded({ trafficType: "REMOTE_PEER", length: 5, costMs: 1 });
    metrics.pieceDownloaded({ trafficType: "BACK_TO_SOURCE", length: 7, costMs: 1 }, 7);
    // The origin brought the rest of what a parent began.
    metrics.pieceDownloaded({ trafficType: "REMOTE_PEER", length: 10, costMs: 1 }, 4);
    const name = "dragonfly_client_download_traffic";
    expect(await valueOf(metrics.registry, `${name}{type="REMOTE_PEER"}`)).toBe(21);
    expect(await valueOf(metrics.registry, `${name}{type="BACK_TO_SOURCE"}`)).toBe(11);
  });

  it("counts requests to origins, and the time of those that went well", async () => {
    const metrics = createMetrics(BUILD);
    const request = { scheme: "https", method: "GET" };
    for (const failed of [true, false]) {
      metrics.originAsked(request);
      metrics.originAnswered(request, { failed, costMs: 3 });
    }
    const of = '{scheme="https",method="GET"}';
    const { registry } = metrics;
    expect(await valueOf(registry, `dragonfly_client_backend_request_total${of}`)).toBe(2);
    expect(await valueOf(registry, `dragonfly_client_backend_request_failure_total${of}`)).toBe(1);
    expect(
      await valueOf(registry, `dragonfly_client_backend_request_duration_milliseconds_count${of}`),
    ).toBe(1);
  });

  it("shows the disk that content is on", async () => {
    const { registry } = createMetrics({ ...BUILD, storageDirectory: tmpdir() });
    const total = await valueOf(registry, "dragonfly_client_disk_space_total");
    const taken = await valueOf(registry, "dragonfly_client_disk_usage_space_total");
    expect(total).toBeGreaterThan(taken);
    expect(taken).toBeGreaterThan(0);
  });

  it("has every metric of Dragonfly's daemon but those of its proxy", () => {
    const { registry } = createMetrics({ ...BUILD, storageDirectory: tmpdir() });
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    expect(names.toSorted()).toEqual(
      [
        "version",
        "download_task_total",
        "download_task_failure_total",
        "prefetch_task_total",
        "prefetch_task_failure_total",
        "concurrent_download_task_total",
        "concurrent_upload_piece_total",
        "download_traffic",
        "download_piece_duration_milliseconds",
        "upload_traffic",
        "download_task_duration_milliseconds",
        "backend_request_total",
        "backend_request_failure_total",
        "backend_request_duration_milliseconds",
        "update_task_total",
        "update_task_failure_total",
        "stat_task_total",
        "stat_task_failure_total",
        "list_local_tasks_total",
        "list_tasks_failure_total",
        "list_task_entries_total",
        "list_task_entries_failure_total",
        "delete_task_total",
        "delete_task_failure_total",
        "delete_local_task_total",
        "delete_local_task_failure_total",
        "delete_host_total",
        "delete_host_failure_total",
        "disk_space_total",
        "disk_usage_space_total",
        "download_task_blocked_total",
        "upload_task_blocked_total",
      ]
        .map((name) => `dragonfly_client_${name}`)
        .toSorted(),
    );
  });

  it("forgets all but what is blocked and what is under way when reset, and keeps its version", async () => {
    const metrics = createMetrics(BUILD);
    const { registry } = metrics;
    const ended = { ...LABELS, tag: "ended" };
    metrics.taskStarted(LABELS);
    metrics.taskStarted(ended);
    metrics.taskBlocked(ended);
    metrics.taskEnded(ended, { kind: "failed" });
    metrics.pieceUploadStarted();
    metrics.called("delete_host");
    metrics.reset();
    const text = await registry.metrics();
    expect(text).not.toContain('tag="ended"');
    expect(text).not.toContain("client_download_task_total{");
    expect(text).toContain('download_task_blocked_total{type="0"} 1');
    expect(text).toContain("delete_host_total 0");
    expect(text).toMatch(/client_version{git_version="0\.1\.0",git_commit="unknown".*} 1/);
    metrics.pieceUploadEnded(5);
    metrics.taskEnded(LABELS, { kind: "left" });
    expect(await valueOf(registry, "dragonfly_client_concurrent_upload_piece_total")).toBe(0);
    expect(
      await valueOf(
        registry,
        'dragonfly_client_concurrent_download_task_total{type="0",tag="t",app="a",priority="6"}',
      ),
    ).toBe(0);
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

  it("lets DELETE clear what can be cleared", async () => {
    let cleared = 0;
    const page = { contentType: "text/plain", render: async () => "", clear: () => (cleared += 1) };
    const server = await serveHttp(
      "metrics",
      { ip: "127.0.0.1", port: 0 },
      new Map([["/metrics", page], ...pages]),
    );
    try {
      const url = `http://127.0.0.1:${server.address.port}`;
      expect((await fetch(`${url}/metrics`, { method: "DELETE" })).status).toBe(200);
      expect((await fetch(`${url}/healthy`, { method: "DELETE" })).status).toBe(405);
      expect((await fetch(`${url}/metrics`, { method: "PUT" })).headers.get("allow")).toBe(
        "GET, HEAD, DELETE",
      );
      expect(cleared).toBe(1);
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
