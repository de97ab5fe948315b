import { once } from "node:events";
import { connect, type Socket } from "node:net";
import {
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  createHealthClient,
  type DfdaemonUploadClient,
  type Download,
  type DownloadTaskResponse__Output,
  type Host__Output,
} from "@damselfly/rpc";
import { encodePacket, PacketDecoder, Tag, type Packet } from "@damselfly/vortex";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "../testing/origin-server.ts";
import { openDaemonBench, type DaemonBench, type DaemonInTest } from "../testing/running-daemon.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const CONTENT = Buffer.from(seededContent(PIECE_LENGTH + 1_000));

let origin: OriginServer;
let bench: DaemonBench;

beforeAll(async () => {
  origin = await openOriginServer({ files: { "/file": { content: CONTENT } } });
  bench = await openDaemonBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

/** Has the daemon fetch the file. @returns the task's id */
async function fetchFile(daemon: DaemonInTest): Promise<string> {
  await using client = createDfdaemonDownloadClient(daemon);
  let taskId = "";
  for await (const response of client.downloadTask({ download: { url: `${origin.url}/file` } }))
    ({ taskId } = response);
  return taskId;
}

async function dial({ upload }: DaemonInTest): Promise<Socket> {
  const socket = connect({ host: upload.ip, port: upload.port, allowHalfOpen: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** One request as Dragonfly's 1.5.1 children make it: nothing more is said once the answer begins. */
async function requestPiece(
  daemon: DaemonInTest,
  request: { readonly taskId: string; readonly pieceNumber: number },
): Promise<{ readonly packet: Packet | undefined; readonly content: Buffer }> {
  const socket = await dial(daemon);
  const decoder = new PacketDecoder();
  const content: Uint8Array[] = [];
  let packet: Packet | undefined;
  socket.write(encodePacket({ kind: "request", id: 1, tag: Tag.DownloadPiece, ...request }));
  for await (const chunk of socket) {
    if (packet !== undefined) {
      content.push(chunk);
      continue;
    }
    const decoded = decoder.push(chunk);
    if (decoded === undefined) continue;
    ({ packet } = decoded);
    content.push(Buffer.from(decoded.rest));
    socket.end();
  }
  return { packet, content: Buffer.concat(content) };
}

async function collect(
  client: DfdaemonUploadClient,
  download: Download,
): Promise<DownloadTaskResponse__Output[]> {
  const responses: DownloadTaskResponse__Output[] = [];
  for await (const response of client.downloadTask({ download })) responses.push(response);
  return responses;
}

describe("the upload port of a daemon without certificates", () => {
  it("serves pieces over Vortex beside gRPC", async () => {
    const daemon = await bench.start("plain", { "scheduler.embedded": false });
    const taskId = await fetchFile(daemon);
    const first = await requestPiece(daemon, { taskId, pieceNumber: 0 });
    expect(first.packet).toMatchObject({ kind: "content" });
    expect(first.content.equals(CONTENT.subarray(0, PIECE_LENGTH))).toBe(true);
    const last = await requestPiece(daemon, { taskId, pieceNumber: 1 });
    expect(last.content.equals(CONTENT.subarray(PIECE_LENGTH))).toBe(true);
    const none = await requestPiece(daemon, { taskId, pieceNumber: 2 });
    expect(none.packet).toMatchObject({ kind: "error" });
    await using health = createHealthClient(daemon.upload);
    for (const service of ["", "dfdaemon.v2.DfdaemonUpload"])
      expect(await health.check({ service })).toMatchObject({ status: "SERVING" });
    await daemon.stop();
  });
});

describe("the upload port of a daemon with certificates", () => {
  it("turns away who has none, unless plain peers are welcome", async () => {
    const settings = { "scheduler.embedded": false };
    const strict = await bench.start("strict", settings, { tls: true });
    const taskId = await fetchFile(strict);
    expect((await requestPiece(strict, { taskId, pieceNumber: 0 })).packet).toBeUndefined();
    const health = createHealthClient(strict.upload);
    await expect(health.check({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await health[Symbol.asyncDispose]();
    await strict.stop();

    const open = { ...settings, "security.plainPeers": true };
    const welcoming = await bench.start("welcoming", open, { tls: true });
    const sameId = await fetchFile(welcoming);
    const { content } = await requestPiece(welcoming, { taskId: sameId, pieceNumber: 0 });
    expect(content.equals(CONTENT.subarray(0, PIECE_LENGTH))).toBe(true);
    for (const tls of [undefined, await bench.identity("caller")]) {
      await using client = createHealthClient(welcoming.upload, { tls });
      expect(await client.check({})).toMatchObject({ status: "SERVING" });
    }
    await welcoming.stop();
  });
});

describe("a seed", () => {
  let seed: DaemonInTest;
  let client: DfdaemonUploadClient;

  beforeAll(async () => {
    const settings = { "seedPeer.enable": true, "scheduler.embedded": true, "scheduler.port": 0 };
    seed = await bench.start("seed", settings);
    client = createDfdaemonUploadClient(seed.upload);
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await seed.stop();
  });

  it("is known by its id, and fetches what a scheduler asks it to, in the words of the child", async () => {
    expect(seed.hostId).toBe("127.0.0.1-seed-seed");
    const asked: Download = {
      url: `${origin.url}/file`,
      needBackToSource: true,
      // What the child wants of its own daemon.
      disableBackToSource: true,
      needPieceContent: true,
      overwrite: true,
      forceHardLink: true,
      timeout: { seconds: 7_200 },
    };
    const responses = await collect(client, asked);
    expect(responses.every(({ hostId }) => hostId === seed.hostId)).toBe(true);
    expect(responses[0]?.peerId).toMatch(/^127\.0\.0\.1-seed-[0-9a-f-]{36}-seed$/);
    const pieces = responses.flatMap(({ downloadPieceFinishedResponse: finished }) =>
      finished?.piece ? [finished.piece] : [],
    );
    expect(pieces).toHaveLength(2);
    expect(pieces.every(({ content }) => content === undefined)).toBe(true);
    const again = await collect(client, asked);
    expect(again[0]?.downloadTaskStartedResponse).toMatchObject({ isFinished: true });
    const { taskId } = responses[0]!;
    const task = await client.statTask({ taskId });
    expect(task).toMatchObject({ id: taskId, hasAvailablePeer: true });
  });

  it("says of a file that it has not that it is not here, and asks no origin for that", async () => {
    origin.set("/unknown", { content: CONTENT });
    const question: Download = { url: `${origin.url}/unknown`, metadataOnly: true };
    await expect(collect(client, question)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(origin.requestsTo("/unknown")).toEqual([]);
    await collect(client, { url: question.url!, needBackToSource: true });
    const [answer] = await collect(client, question);
    expect(answer?.downloadTaskStartedResponse).toMatchObject({ isFinished: true });
  });

  it("writes no file for anybody on the network", async () => {
    const written = collect(client, { url: `${origin.url}/file`, outputPath: "/tmp/never" });
    await expect(written).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("reports its load until the caller leaves", async () => {
    const reports: Host__Output[] = [];
    for await (const report of client.syncHost({ hostId: "somebody", peerId: "p" })) {
      reports.push(report);
      if (reports.length === 2) break;
    }
    for (const { id, network } of reports) {
      expect(id).toBe(seed.hostId);
      expect(network?.maxTxBandwidth).toBeGreaterThan(0);
      expect(network?.txBandwidth).toBeGreaterThanOrEqual(0);
    }
  });
});
