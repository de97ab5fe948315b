import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  backendDetails,
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  createHealthClient,
  type DfdaemonDownloadClient,
  type DfdaemonUploadClient,
  type Download,
  type DownloadTaskResponse__Output,
  type Piece__Output,
} from "@damselfly/rpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "./testing/origin-server.ts";
import {
  findFreePort,
  openDaemonBench,
  type DaemonBench,
  type DaemonInTest,
} from "./testing/running-daemon.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const LENGTH = 2 * PIECE_LENGTH + 100_003;
const CONTENT = seededContent(LENGTH);
const LOOPBACK = "127.0.0.1";

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

let fileCount = 0;

/** A URL that no test has used before. */
function serveFile(): string {
  fileCount += 1;
  origin.set(`/file-${fileCount}`, { content: CONTENT });
  return `${origin.url}/file-${fileCount}`;
}

interface Outcome {
  readonly taskId: string;
  readonly started: NonNullable<DownloadTaskResponse__Output["downloadTaskStartedResponse"]>;
  readonly pieces: readonly Piece__Output[];
}

async function download(
  client: Pick<DfdaemonDownloadClient, "downloadTask">,
  fields: Download,
): Promise<Outcome> {
  let taskId = "";
  let started: Outcome["started"] | null | undefined;
  const pieces: Piece__Output[] = [];
  for await (const response of client.downloadTask({ download: fields })) {
    ({ taskId } = response);
    started ??= response.downloadTaskStartedResponse;
    const piece = response.downloadPieceFinishedResponse?.piece;
    if (piece) pieces.push(piece);
  }
  if (!started) throw new Error("the daemon said nothing of the task");
  return { taskId, started, pieces };
}

function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

const SHA256 = sha256(CONTENT);

const PROTOCOLS = ["grpc", "quic", "tcp"] as const;

describe.each(PROTOCOLS)("two daemons with mutual TLS, over %s,", (protocol) => {
  let one: DaemonInTest;
  let two: DaemonInTest;
  let clients: {
    readonly one: DfdaemonDownloadClient;
    readonly two: DfdaemonDownloadClient;
    /** As the daemon called "two" would call the one called "one". */
    readonly upload: DfdaemonUploadClient;
  };

  beforeAll(async () => {
    const common = { "storage.server.protocol": protocol };
    const names = [`one-${protocol}`, `two-${protocol}`] as const;
    one = await bench.start(
      names[0],
      { ...common, "scheduler.embedded": true, "scheduler.port": 0 },
      { tls: true },
    );
    const { ip, port } = one.schedulerAddress!;
    two = await bench.start(
      names[1],
      { ...common, "scheduler.addrs": [`${ip}:${port}`] },
      {
        tls: true,
      },
    );
    clients = {
      one: createDfdaemonDownloadClient(one),
      two: createDfdaemonDownloadClient(two),
      upload: createDfdaemonUploadClient(one.upload, {
        tls: await bench.identity(names[1]),
        expectedHostname: names[0],
      }),
    };
  });
  afterAll(async () => {
    for (const client of Object.values(clients)) await client[Symbol.asyncDispose]();
    await two.stop();
    await one.stop();
  });

  it("read the origin once, and give each other the rest", async () => {
    const url = serveFile();
    const output = join(bench.directory, `output-${protocol}`);
    const first = await download(clients.one, { url, outputPath: `${output}-1` });
    expect(first.started).toMatchObject({ contentLength: LENGTH, isFinished: false });
    expect(first.pieces.map(({ trafficType }) => trafficType)).toEqual(
      Array.from({ length: 3 }, () => "BACK_TO_SOURCE"),
    );
    const second = await download(clients.two, { url, outputPath: `${output}-2` });
    expect(second.taskId).toBe(first.taskId);
    expect(second.pieces.map(({ trafficType }) => trafficType)).toEqual(
      Array.from({ length: 3 }, () => "REMOTE_PEER"),
    );
    expect(new Set(second.pieces.map(({ parentId }) => parentId))).toEqual(new Set([one.hostId]));
    expect(sha256(await readFile(`${output}-1`))).toBe(SHA256);
    expect(sha256(await readFile(`${output}-2`))).toBe(SHA256);
    expect(origin.bodyBytes(new URL(url).pathname)).toBe(LENGTH);
  });

  it("tell what they and the scheduler know of a task, and forget it when told", async () => {
    const { taskId } = await download(clients.one, { url: serveFile() });
    const task = await clients.two.statTask({ taskId });
    expect(task).toMatchObject({ id: taskId, contentLength: LENGTH, hasAvailablePeer: true });
    expect(await clients.upload.statTask({ taskId })).toMatchObject({ id: taskId });

    const local = await clients.one.statLocalTask({ taskId });
    expect(local).toMatchObject({ taskId, contentLength: LENGTH, pieceLength: PIECE_LENGTH });
    expect(local.finishedAt).toBeTruthy();
    expect(await clients.upload.statLocalTask({ taskId })).toMatchObject({ taskId });
    const { tasks } = await clients.one.listLocalTasks({});
    expect(tasks.map((listed) => listed.taskId)).toContain(taskId);
    await expect(clients.two.statLocalTask({ taskId })).rejects.toMatchObject({
      code: "NOT_FOUND",
      reason: `local task not found: ${taskId}`,
    });

    await clients.one.deleteTask({ taskId });
    await expect(clients.one.statLocalTask({ taskId })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    expect((await clients.two.statTask({ taskId })).hasAvailablePeer).toBe(false);
    // Nothing is left to delete, and that is fine.
    await clients.upload.deleteTask({ taskId });
    await expect(clients.one.deleteLocalTask({ taskId })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("tell a child which pieces they have, and where", async () => {
    const { taskId } = await download(clients.one, { url: serveFile() });
    const request = { hostId: two.hostId, taskId, interestedPieceNumbers: [0, 2, 7] };
    const asOurs = await collect(clients.upload.syncPieces({ ...request, extension: {} }));
    expect(asOurs.map(({ number, length }) => [number, length])).toEqual([
      [0, 0],
      [0, PIECE_LENGTH],
      [2, LENGTH - 2 * PIECE_LENGTH],
    ]);
    const protocols = asOurs[0]!.extension!.transports.map((offer) => offer.protocol);
    expect(protocols).toContain(protocol);
    const unknown = { ...request, extension: {}, taskId: "0".repeat(64) };
    await expect(collect(clients.upload.syncPieces(unknown))).rejects.toMatchObject({
      code: "INTERNAL",
    });
  });

  it("serve no host that its certificate does not name", async () => {
    const { taskId } = await download(clients.one, { url: serveFile() });
    const own = two.hostId;
    for (const hostId of [
      one.hostId,
      `${own}x`,
      own.replace("two", "not-two"),
      `${LOOPBACK}-d7y`,
      "two",
      "",
    ]) {
      const request = { hostId, taskId, interestedPieceNumbers: [0], extension: {} };
      await expect(collect(clients.upload.syncPieces(request))).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
      });
    }
    const seed = { hostId: `${own}-seed`, taskId, interestedPieceNumbers: [0], extension: {} };
    expect(await collect(clients.upload.syncPieces(seed))).toHaveLength(2);
  });

  it("let nobody in who shows no certificate, or one of another authority", async () => {
    await using plain = createDfdaemonUploadClient(one.upload);
    await expect(plain.statLocalTask({ taskId: "0" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    await using elsewhere = await openDaemonBench();
    const tls = await elsewhere.identity(two.name);
    await using stranger = createDfdaemonUploadClient(one.upload, { tls });
    await expect(stranger.statLocalTask({ taskId: "0" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });

  it("report on the host for as long as somebody listens", async () => {
    for await (const host of clients.upload.syncHost({ hostId: two.hostId, peerId: "" })) {
      expect(host).toMatchObject({ id: one.hostId, hostname: one.name, port: one.upload.port });
      break;
    }
    await using health = createHealthClient(one.upload, { tls: await bench.identity(two.name) });
    expect(await health.check({ service: "" })).toMatchObject({ status: "SERVING" });
  });

  it("download for whoever asks over TCP, but write no files for them", async () => {
    const url = serveFile();
    await expect(download(clients.upload, { url, outputPath: "/tmp/never" })).rejects.toMatchObject(
      { code: "INVALID_ARGUMENT" },
    );
    const { pieces } = await download(clients.upload, { url });
    expect(pieces).toHaveLength(3);
  });
});

describe("a daemon alone", () => {
  let daemon: DaemonInTest;
  let client: DfdaemonDownloadClient;
  let ports: { readonly health: number; readonly metrics: number };

  beforeAll(async () => {
    ports = { health: await findFreePort(), metrics: await findFreePort() };
    daemon = await bench.start("alone", {
      "scheduler.embedded": false,
      "health.server.port": ports.health,
      "metrics.server.port": ports.metrics,
      "backend.requestHeader": { "x-from": "config" },
    });
    client = createDfdaemonDownloadClient(daemon);
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await daemon.stop();
  });

  it("goes to the origin without asking anybody", async () => {
    const url = serveFile();
    const { taskId, pieces } = await download(client, { url });
    expect(pieces).toHaveLength(3);
    const [request] = origin.requestsTo(new URL(url).pathname);
    expect(request?.header["x-from"]).toBe("config");
    await expect(client.statTask({ taskId })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
    await client.deleteTask({ taskId });
    await expect(client.statLocalTask({ taskId })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await client.deleteHost({});
  });

  it("gives the content along when it is asked to", async () => {
    const { pieces } = await download(client, { url: serveFile(), needPieceContent: true });
    const content = pieces
      .toSorted((a, b) => a.number - b.number)
      .map((piece) => piece.content ?? new Uint8Array(0));
    expect(sha256(Buffer.concat(content))).toBe(SHA256);
  });

  it("gives a range, and says why it cannot", async () => {
    const url = serveFile();
    const range = { start: PIECE_LENGTH - 1, length: 2 };
    const { started, pieces } = await download(client, { url, range });
    expect(started.range).toMatchObject(range);
    expect(pieces).toHaveLength(2);
    await expect(
      download(client, { url, range: { start: LENGTH, length: 1 } }),
    ).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("hands on what the origin said", async () => {
    const failure: unknown = await download(client, { url: `${origin.url}/none` }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "INTERNAL" });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked in the line above
    const details = backendDetails(failure as Parameters<typeof backendDetails>[0]);
    expect(details).toMatchObject({ statusCode: 404 });
    expect(details?.message).toContain("404 Not Found");
  });

  it.each([
    ["no URL, where it must be read for the task id", { url: "no", filteredQueryParams: ["a"] }],
    ["a relative output", { url: "http://host/file", outputPath: "file" }],
    ["pieces that are too short", { url: "http://host/file", pieceLength: 1024 }],
  ] satisfies [string, Download][])("refuses %s", async (_, fields) => {
    await expect(download(client, fields)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("gives out nothing whose digest is another", async () => {
    const digest = `sha256:${"0".repeat(64)}`;
    await expect(download(client, { url: serveFile(), digest })).rejects.toThrow(SHA256);
  });

  it("tells over HTTP how it is", async () => {
    const health = await fetch(`http://${LOOPBACK}:${ports.health}/healthy`);
    expect([health.status, await health.text()]).toEqual([200, "ok\n"]);
    expect((await fetch(`http://${LOOPBACK}:${ports.health}/metrics`)).status).toBe(404);
  });

  it("counts who asked for what, where it came from and what the origin was asked, until told to forget", async () => {
    const url = `http://${LOOPBACK}:${ports.metrics}/metrics`;
    await fetch(url, { method: "DELETE" });
    const fields = { url: serveFile(), tag: "nightly", application: "builder" };
    for (const _ of [1, 2]) await download(client, fields);
    const missing = download(client, { ...fields, url: `${origin.url}/none` });
    await expect(missing).rejects.toMatchObject({ code: "INTERNAL" });
    const text = await (await fetch(url)).text();
    const of = 'type="0",tag="nightly",app="builder",priority="0"';
    for (const line of [
      `download_task_total{${of}} 3`,
      `download_task_failure_total{${of}} 1`,
      `concurrent_download_task_total{${of}} 0`,
      'download_task_duration_milliseconds_count{task_type="0",task_size_level="4"} 2',
      `download_traffic{type="BACK_TO_SOURCE"} ${LENGTH}`,
      `download_traffic{type="LOCAL_PEER"} ${LENGTH}`,
      'backend_request_failure_total{scheme="http",method="GET"} 1',
    ]) {
      expect(text).toContain(`\ndragonfly_client_${line}\n`);
    }
    expect((await fetch(url, { method: "DELETE" })).status).toBe(200);
    expect(await (await fetch(url)).text()).not.toContain("nightly");
  });
});

describe("runDaemon", () => {
  it("stops when it is told to, and frees what it held", async () => {
    const settings = { "upload.server.port": await findFreePort() };
    const first = await bench.start("again", settings);
    await using client = createDfdaemonDownloadClient(first);
    const { taskId } = await download(client, { url: serveFile() });
    await first.stop();
    await expect(stat(first.socketPath)).rejects.toMatchObject({ code: "ENOENT" });

    const second = await bench.start("again", settings);
    await using later = createDfdaemonDownloadClient(second);
    expect(await later.statLocalTask({ taskId })).toMatchObject({ contentLength: LENGTH });
    await second.stop();
  });

  it("ends by itself when nobody asks for anything", async () => {
    const daemon = await bench.start("idle", { idleExit: "50ms" });
    await daemon.ended;
    expect(daemon.log.some((line) => line.includes("nobody asked for anything"))).toBe(true);
  });

  it("downloads although no scheduler can be reached", async () => {
    const port = await findFreePort();
    const daemon = await bench.start("lonely", { "scheduler.addrs": [`localhost:${port}`] });
    await using client = createDfdaemonDownloadClient(daemon);
    const { pieces } = await download(client, { url: serveFile() });
    expect(pieces.map(({ trafficType }) => trafficType)).toContain("BACK_TO_SOURCE");
    expect(daemon.log.some((line) => line.startsWith("warn the scheduler is left out"))).toBe(true);
    await daemon.stop();
  });

  it("starts and downloads although the scheduler's name cannot be found", async () => {
    const daemon = await bench.start("nameless", { "scheduler.addrs": ["none.invalid:1"] });
    await using client = createDfdaemonDownloadClient(daemon);
    const { pieces } = await download(client, { url: serveFile() });
    expect(pieces.map(({ trafficType }) => trafficType)).toContain("BACK_TO_SOURCE");
    expect(daemon.log.some((line) => line.includes("Cannot find scheduler 'none.invalid'"))).toBe(
      true,
    );
    await daemon.stop();
  });

  it("says that everybody is served when it was told to be insecure", async () => {
    const daemon = await bench.start("open", { "security.insecure": true });
    expect(daemon.log.some((line) => line.startsWith("warn security.insecure:"))).toBe(true);
    await daemon.stop();
  });

  it("fails with one reason, and holds nothing then", async () => {
    const taken = await bench.start("taken");
    const { port } = taken.upload;
    for (const [setting, at] of [
      ["upload.server.port", port],
      ["storage.server.tcpPort", port],
      ["storage.server.grpcPort", port],
      ["health.server.port", port],
      ["metrics.server.port", port],
      ["stats.server.port", port],
      ["download.server.socketPath", taken.socketPath],
    ] as const) {
      const late = bench.start("late", { [setting]: at });
      await expect(late, setting).rejects.toMatchObject({
        code: "ERR_LISTEN",
        message: expect.stringMatching(
          new RegExp(`${at}: another process is serving there; the setting is ${setting}`),
        ),
      });
    }
    await expect(bench.start("late", { "backend.caCert": "/none.pem" })).rejects.toThrow(
      "backend.caCert",
    );
    await expect(
      bench.start("late", { "storage.dir": join(bench.directory, "taken") }),
    ).rejects.toThrow("another process has it open");
    const late = await bench.start("late");
    await late.stop();
    await taken.stop();
  });
});

async function collect<Message>(messages: AsyncIterable<Message>): Promise<Message[]> {
  const all: Message[] = [];
  for await (const message of messages) all.push(message);
  return all;
}
