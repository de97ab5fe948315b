import {
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  type DfdaemonUploadClient,
  type Download,
  type SyncPiecesRequest,
  type SyncPiecesResponse__Output,
} from "@damselfly/rpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "../testing/origin-server.ts";
import { openDaemonBench, type DaemonBench, type DaemonInTest } from "../testing/running-daemon.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const CONTENT = seededContent(PIECE_LENGTH + 7);
const HOST_ID = "127.0.0.1-child";

let origin: OriginServer;
let bench: DaemonBench;

beforeAll(async () => {
  origin = await openOriginServer();
  origin.set("/file", { content: CONTENT });
  bench = await openDaemonBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

/** Fetches the file from the origin. @returns its task id */
async function fill(daemon: DaemonInTest, how: Download = {}): Promise<string> {
  const client = createDfdaemonDownloadClient(daemon);
  try {
    let taskId = "";
    const download = { url: `${origin.url}/file`, ...how };
    for await (const response of client.downloadTask({ download })) ({ taskId } = response);
    return taskId;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

async function sync(
  client: DfdaemonUploadClient,
  request: SyncPiecesRequest,
): Promise<SyncPiecesResponse__Output[]> {
  try {
    const responses: SyncPiecesResponse__Output[] = [];
    for await (const response of client.syncPieces(request)) responses.push(response);
    return responses;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

describe("syncPieces", () => {
  it("tells one of Dragonfly's children of pieces, and of nothing that it would misunderstand", async () => {
    const daemon = await bench.start("sync-plain", { "scheduler.embedded": false });
    const taskId = await fill(daemon);
    const responses = await sync(createDfdaemonUploadClient(daemon.upload), {
      hostId: HOST_ID,
      taskId,
      interestedPieceNumbers: [0, 1],
    });
    expect(responses).toMatchObject([
      { number: 0, offset: 0, length: PIECE_LENGTH, ip: "127.0.0.1", extension: null },
      { number: 1, offset: PIECE_LENGTH, length: 7, ip: "127.0.0.1", extension: null },
    ]);
    for (const response of responses) expect(response).not.toHaveProperty("quicPort");
  });

  it("tells a copy whose id somebody has chosen from one that has the id of its URL", async () => {
    const versionOf = async (name: string, how: Download): Promise<string | undefined> => {
      const daemon = await bench.start(name, { "scheduler.embedded": false });
      const request = {
        hostId: HOST_ID,
        taskId: await fill(daemon, how),
        interestedPieceNumbers: [0],
        extension: { version: 1 },
      };
      const [first] = await sync(createDfdaemonUploadClient(daemon.upload), request);
      return first?.extension?.contentVersion;
    };
    const version = await versionOf("sync-url", {});
    // The id is that of the URL all the same.
    const contentForCalculatingTaskId = `${origin.url}/fileSTANDARD`;
    expect(await versionOf("sync-named", { contentForCalculatingTaskId })).toBe(`${version}-named`);
  });

  it("tells our own children first where to fetch", async () => {
    const daemon = await bench.start("sync-ours", { "scheduler.embedded": false });
    const taskId = await fill(daemon);
    const responses = await sync(createDfdaemonUploadClient(daemon.upload), {
      hostId: HOST_ID,
      taskId,
      interestedPieceNumbers: [0],
      extension: { version: 1 },
    });
    expect(responses).toMatchObject([
      { length: 0, extension: { version: 1 } },
      { number: 0, length: PIECE_LENGTH, extension: null },
    ]);
    expect(responses[0]?.extension?.sourceDigest).toMatch(/^[0-9a-f]{64}$/);
    expect(responses[0]?.extension?.transports.map(({ protocol }) => protocol)).toContain("grpc");
  });

  it("tells our own children last when it is being stopped, and Dragonfly's nothing that they would misunderstand", async () => {
    let release: () => void = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    origin.set("/held", { content: CONTENT, beforeChunk: () => released });
    const daemon = await bench.start("sync-stopped", { "scheduler.embedded": false });
    const filling = fill(daemon, { url: `${origin.url}/held` });
    filling.catch(() => {});
    const local = createDfdaemonDownloadClient(daemon);
    const taskId = await expect
      .poll(async () => (await local.listLocalTasks({})).tasks[0]?.taskId, { timeout: 10_000 })
      .toBeTypeOf("string")
      .then(async () => (await local.listLocalTasks({})).tasks[0]!.taskId);
    await local[Symbol.asyncDispose]();
    const request = { hostId: HOST_ID, taskId, interestedPieceNumbers: [0, 1] };
    const client = createDfdaemonUploadClient(daemon.upload);
    const ours = client.syncPieces({ ...request, extension: { version: 1 } });
    const theirs = client.syncPieces(request);
    const heard: SyncPiecesResponse__Output[] = [];
    const listening = (async () => {
      for await (const response of ours) heard.push(response);
    })();
    const listeningToo = (async () => {
      const responses: SyncPiecesResponse__Output[] = [];
      for await (const response of theirs) responses.push(response);
      return responses;
    })();
    await expect.poll(() => heard.length).toBe(1);
    const stopping = daemon.stop();
    await listening;
    expect(heard.map(({ extension }) => extension?.leaving)).toEqual([false, true]);
    expect(await listeningToo).toEqual([]);
    release();
    await stopping;
    await client[Symbol.asyncDispose]();
    await filling.catch(() => {});
  });

  it("knows no task that was never asked for", async () => {
    const daemon = await bench.start("sync-empty", { "scheduler.embedded": false });
    const request = { hostId: HOST_ID, taskId: "f".repeat(64), interestedPieceNumbers: [0] };
    await expect(sync(createDfdaemonUploadClient(daemon.upload), request)).rejects.toMatchObject({
      code: "INTERNAL",
      reason: `task ${request.taskId} not found`,
    });
  });

  it("refuses Dragonfly's children where pieces go over TLS only, and names the setting", async () => {
    const settings = { "scheduler.embedded": false };
    const daemon = await bench.start("sync-tls", settings, { tls: true });
    const taskId = await fill(daemon);
    const client = createDfdaemonUploadClient(daemon.upload, {
      tls: await bench.identity("child"),
      expectedHostname: "sync-tls",
    });
    await expect(
      sync(client, { hostId: HOST_ID, taskId, interestedPieceNumbers: [0] }),
    ).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      reason: expect.stringContaining("security.plainPeers is false here"),
    });
  });
});
