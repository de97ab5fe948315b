import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  implementService,
  serveRpc,
  status,
  type DfdaemonDownloadClient,
  type DownloadTaskResponse,
  type ImplementedService,
  type ServiceImplementation,
  type Services,
} from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { meterDownloadService, meterUploadService } from "./meter-services.ts";
import { createMetrics, type Metrics } from "./metrics.ts";

const DOWNLOAD = {
  url: "http://origin/x",
  tag: "t",
  application: "a",
  priority: "LEVEL6",
} as const;
const OF = '{type="0",tag="t",app="a",priority="6"}';

/** What is not zero. */
async function lines(metrics: Metrics): Promise<string[]> {
  const text = await metrics.registry.metrics();
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#") && !line.endsWith(" 0"))
    .map((line) => line.replace("dragonfly_client_", ""));
}

/** The service at a real socket, for as long as `use` takes. */
async function serving(
  service: ImplementedService,
  use: (socketPath: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "damselfly-metrics-"));
  const socketPath = join(directory, "socket");
  const server = await serveRpc({
    address: { socketPath, mode: 0o600 },
    services: [service],
    graceMs: 5_000,
  });
  try {
    await use(socketPath);
  } finally {
    await server[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  }
}

async function called(
  methods: ServiceImplementation<Services["dfdaemon.v2.DfdaemonDownload"]>,
  call: (client: DfdaemonDownloadClient) => Promise<void>,
): Promise<string[]> {
  const metrics = createMetrics({ version: "1", platform: "x" });
  const metered = meterDownloadService(methods, metrics);
  await serving(implementService("dfdaemon.v2.DfdaemonDownload", metered), async (socketPath) => {
    const client = createDfdaemonDownloadClient({ socketPath });
    try {
      await call(client);
    } finally {
      await client[Symbol.asyncDispose]();
    }
  });
  return await lines(metrics);
}

/** What DownloadTask leads to when the daemon answers so. */
async function downloaded(
  answer: (signal: AbortSignal) => AsyncIterable<DownloadTaskResponse>,
): Promise<string[]> {
  return await called({ downloadTask: (_, { signal }) => answer(signal) }, async (client) => {
    try {
      for await (const _ of client.downloadTask({ download: DOWNLOAD }));
    } catch {
      // What it ends with is the daemon's business, not that of whoever counts.
    }
  });
}

describe("meterDownloadService", () => {
  it("counts a download, its size, and what of it was on disk already", async () => {
    const said = await downloaded(async function* () {
      yield { downloadTaskStartedResponse: { contentLength: 3 * 2 ** 20 } };
      for (const trafficType of ["LOCAL_PEER", "REMOTE_PEER", "LOCAL_PEER"] as const)
        yield { downloadPieceFinishedResponse: { piece: { trafficType, length: 2 ** 20 } } };
    });
    expect(said).toContain(`download_task_total${OF} 1`);
    expect(said).toContain(
      'download_task_duration_milliseconds_count{task_type="0",task_size_level="2"} 1',
    );
    expect(said.filter((line) => line.startsWith("download_traffic"))).toEqual([
      `download_traffic{type="LOCAL_PEER"} ${2 * 2 ** 20}`,
    ]);
    expect(said.join("\n")).not.toContain("failure");
  });

  it("takes the length of the range for the size of what was asked for", async () => {
    const said = await downloaded(async function* () {
      yield {
        downloadTaskStartedResponse: { contentLength: 2 ** 40, range: { start: 5, length: 10 } },
      };
    });
    expect(said.join("\n")).toContain('task_size_level="1"');
  });

  it("counts a download that fails", async () => {
    const said = await downloaded(async function* () {
      yield {};
      throw status("INTERNAL", "no");
    });
    expect(said).toContain(`download_task_total${OF} 1`);
    expect(said).toContain(`download_task_failure_total${OF} 1`);
  });

  it("counts a download that is not allowed apart from the others", async () => {
    const said = await downloaded(() => {
      throw status("PERMISSION_DENIED", "download rejected by blocklist policy");
    });
    expect(said.filter((line) => !line.startsWith("version"))).toEqual([
      'download_task_blocked_total{type="0"} 1',
    ]);
  });

  it("counts what is fetched ahead once more", async () => {
    const said = await called(
      {
        async *downloadTask() {
          yield {};
          throw status("INTERNAL", "no");
        },
      },
      async (client) => {
        const prefetch = client.downloadTask({ download: { ...DOWNLOAD, isPrefetch: true } });
        await expect(
          (async () => {
            for await (const _ of prefetch);
          })(),
        ).rejects.toMatchObject({ code: "INTERNAL" });
      },
    );
    expect(said.filter((line) => line.includes("prefetch"))).toEqual([
      `prefetch_task_total${OF} 1`,
      `prefetch_task_failure_total${OF} 1`,
    ]);
  });

  it("does not count it as failed that somebody lost interest", async () => {
    const waiting = async function* (signal: AbortSignal): AsyncGenerator<DownloadTaskResponse> {
      yield { downloadTaskStartedResponse: { contentLength: 1 } };
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("gone")));
      });
    };
    const said = await called(
      { downloadTask: (_, { signal }) => waiting(signal) },
      async (client) => {
        for await (const _ of client.downloadTask({ download: DOWNLOAD })) break;
      },
    );
    expect(said).toContain(`download_task_total${OF} 1`);
    expect(said.join("\n")).not.toMatch(/failure|concurrent_download_task_total|duration/);
  });

  it("counts calls and their failures, and leaves methods away that are not there", async () => {
    const refuse = async (): Promise<never> => {
      throw status("NOT_FOUND", "no such task");
    };
    const answer = async (): Promise<object> => ({});
    const methods = {
      statTask: answer,
      deleteHost: answer,
      deleteTask: refuse,
      listLocalTasks: refuse,
    };
    const said = await called(methods, async (client) => {
      await client.statTask({});
      await client.deleteHost({});
      await expect(client.deleteTask({})).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(client.listLocalTasks({})).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(client.deleteLocalTask({})).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
    });
    expect(said.filter((line) => !line.startsWith("version")).toSorted()).toEqual([
      "delete_host_total 1",
      'delete_task_failure_total{type="0"} 1',
      'delete_task_total{type="0"} 1',
      'list_local_tasks_total{type="0"} 1',
      'list_tasks_failure_total{type="0"} 1',
      'stat_task_total{type="0"} 1',
    ]);
  });
});

describe("meterUploadService", () => {
  it("counts what other daemons ask", async () => {
    const metrics = createMetrics({ version: "1", platform: "x" });
    const metered = meterUploadService(
      {
        deleteTask: async () => ({}),
        async *downloadTask() {
          yield {};
        },
      },
      metrics,
    );
    await serving(implementService("dfdaemon.v2.DfdaemonUpload", metered), async (socketPath) => {
      const client = createDfdaemonUploadClient({ socketPath });
      try {
        await client.deleteTask({});
        for await (const _ of client.downloadTask({ download: DOWNLOAD }));
      } finally {
        await client[Symbol.asyncDispose]();
      }
    });
    const said = await lines(metrics);
    expect(said).toContain('delete_task_total{type="0"} 1');
    expect(said).toContain(`download_task_total${OF} 1`);
  });
});
