import {
  openQuicEndpoint,
  type QuicConnection,
  type QuicEndpoint,
  type QuicEndpointOptions,
  type QuicStream,
} from "@damselfly/quic";
import { createGate, readPiece, SyntheticSource, TASK_ID } from "@damselfly/transport/conformance";
import { encodePacket, ErrorCode, PacketDecoder, Tag } from "@damselfly/vortex";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ALPN, StreamCode } from "./codes.ts";
import { createQuicDownloader } from "./quic-downloader.ts";
import { type QuicPieceServer, serveQuic, type ServeQuicOptions } from "./serve-quic.ts";

const LENGTH = 1_000_000;
const opened: AsyncDisposable[] = [];
let source: SyntheticSource;

beforeEach(() => {
  source = new SyntheticSource();
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function serve(options: Partial<ServeQuicOptions> = {}): Promise<QuicPieceServer> {
  const server = await serveQuic({ source, address: { ip: "127.0.0.1", port: 0 }, ...options });
  opened.push(server);
  return server;
}

/** A child that does what the test wants. */
async function dial(
  { address }: QuicPieceServer,
  options: Partial<QuicEndpointOptions> = {},
): Promise<QuicConnection> {
  const endpoint: QuicEndpoint = await openQuicEndpoint({
    address: { ip: "127.0.0.1", port: 0 },
    alpn: ALPN,
    tls: "insecure",
    ...options,
  });
  opened.push(endpoint);
  return endpoint.dial({ ip: "127.0.0.1", port: address.port });
}

const request = (pieceNumber: number): Uint8Array =>
  encodePacket({ kind: "request", id: 1, tag: Tag.DownloadPiece, taskId: TASK_ID, pieceNumber });

function ask(connection: QuicConnection, pieceNumber: number): QuicStream {
  const stream = connection.openStream();
  stream.end(request(pieceNumber)).catch(() => undefined);
  return stream;
}

/** What a stream is answered: the kind of packet and, of an error, its code and text. */
async function answerTo(stream: QuicStream): Promise<unknown> {
  const decoder = new PacketDecoder();
  const bytes = new Uint8Array(4096);
  for (;;) {
    const length = await stream.read(bytes);
    if (length === 0) return "nothing";
    const decoded = decoder.push(bytes.subarray(0, length));
    if (decoded !== undefined) return decoded.packet;
  }
}

/** Somebody who keeps to everything. */
async function fetch({ address }: QuicPieceServer, pieceNumber: number): Promise<number> {
  await using downloader = createQuicDownloader();
  const parent = { hostId: "parent", ip: "127.0.0.1", ports: { quic: [address.port] } };
  return await readPiece(await downloader.downloadPiece(parent, { taskId: TASK_ID, pieceNumber }));
}

describe("a child", () => {
  it("that takes nothing of a piece is cut off, and no more of it is read meanwhile", async () => {
    source.add(0, { length: 64 * LENGTH, chunkLength: 262_144 });
    source.add(1, { length: LENGTH });
    const server = await serve({ limits: { stallMs: 500, requestCountMax: 1 } });
    const connection = await dial(server, { limits: { streamWindow: 10_000 } });
    const stream = ask(connection, 0);
    await source.until(() => source.openCount === 1, "it is being served");
    await source.until(() => source.openCount === 0, "it is cut off");
    expect(source.pulledLength).toBeLessThan(2 * LENGTH);
    await expect(readAll(stream)).rejects.toMatchObject({
      code: "ERR_STREAM_RESET",
      applicationCode: StreamCode.Failed,
    });
    expect(await fetch(server, 1)).toBe(LENGTH);
  });

  it("that opens streams and asks for nothing is reset, and holds up nobody", async () => {
    source.add(0, { length: LENGTH });
    const server = await serve({ requestMs: 300 });
    const connection = await dial(server);
    const streams = Array.from({ length: 500 }, () => connection.openStream());
    for (const stream of streams) await stream.write(request(0).subarray(0, 40));
    expect(await fetch(server, 0)).toBe(LENGTH);
    for (const stream of streams) {
      await expect(answerTo(stream)).rejects.toMatchObject({
        code: "ERR_STREAM_RESET",
        applicationCode: StreamCode.Protocol,
      });
    }
  });

  it("is answered as busy beyond its share of the requests, however many it makes, and others are served", async () => {
    const held = createGate();
    source.add(0, { length: LENGTH, arrival: held.opened });
    source.add(1, { length: LENGTH });
    const server = await serve({
      address: { ip: "0.0.0.0", port: 0 },
      limits: { requestsPerAddressMax: 2 },
    });
    const connection = await dial(server, { address: { ip: "127.0.0.2", port: 0 } });
    const served = [ask(connection, 0), ask(connection, 0)];
    await source.until(() => source.openingCount === 2, "both are asked for");
    for (let count = 0; count < 100; count += 1) {
      expect(await answerTo(ask(connection, 1))).toMatchObject({
        kind: "error",
        code: ErrorCode.Busy,
        message: expect.stringContaining("to this address"),
      });
    }
    expect(await fetch(server, 1)).toBe(LENGTH);
    held.open();
    for (const stream of served) expect(await answerTo(stream)).toMatchObject({ kind: "content" });
  });

  it("has its streams reset far beyond what it may ask for", async () => {
    source.add(0, { length: 1000 });
    const server = await serve({ limits: { requestsPerAddressMax: 1 } });
    const connection = await dial(server);
    const streams = Array.from({ length: 1_500 }, () => connection.openStream());
    for (const stream of streams) await stream.write(request(0).subarray(0, 40));
    // As many as may be answered as busy are waited for, and the others are not.
    const outcomes = await Promise.all(
      streams.slice(1_100).map((stream) => answerTo(stream).catch((error: unknown) => error)),
    );
    expect(outcomes).toEqual(
      outcomes.map(() => expect.objectContaining({ applicationCode: StreamCode.Refused })),
    );
    connection.close(0);
    await expect.poll(() => fetch(server, 0)).toBe(1000);
  });
});

describe("connections", () => {
  it("from one address are held to its share, however many there are, and others are served", async () => {
    const held = createGate();
    source.add(0, { length: LENGTH, arrival: held.opened });
    source.add(1, { length: 1000 });
    const server = await serve({
      address: { ip: "0.0.0.0", port: 0 },
      limits: { connectionsPerAddressMax: 2 },
    });
    const address = { ip: "127.0.0.2", port: 0 };
    const streams: QuicStream[] = [];
    for (let count = 0; count < 2; count += 1) {
      streams.push(ask(await dial(server, { address }), 0));
    }
    await source.until(() => source.openingCount === 2, "both are in use");
    for (let count = 0; count < 30; count += 1) {
      expect(await answerTo(ask(await dial(server, { address }), 1))).toMatchObject({
        kind: "error",
        code: ErrorCode.Busy,
        message: expect.stringContaining("from this address"),
      });
    }
    expect(server.stats().refusedCount).toBe(30);
    expect(await fetch(server, 1)).toBe(1000);
    held.open();
    for (const stream of streams) expect(await answerTo(stream)).toMatchObject({ kind: "content" });
  });

  it("beyond the limit take the place of an idle one, and are answered as busy where there is none", async () => {
    const held = createGate();
    source.add(0, { length: LENGTH, arrival: held.opened });
    source.add(1, { length: 1000 });
    const server = await serve({ limits: { connectionCountMax: 2 } });
    const using = await dial(server);
    const stream = ask(using, 0);
    await source.until(() => source.openingCount === 1, "one is in use");
    const idle = await dial(server);
    // It makes room as soon as it has been idle for a while; until then others are told that there is none.
    const answers: unknown[] = [];
    const [first] = await expectServed();
    expect(first).toMatchObject({ kind: "error", code: ErrorCode.Busy });
    expect(await idle.closed).toMatchObject({ by: "peer", text: "others need its place" });
    held.open();
    expect(await answerTo(stream)).toMatchObject({ kind: "content" });

    async function expectServed(): Promise<unknown[]> {
      await expect
        .poll(
          async () => {
            const connection = await dial(server);
            const answer = await answerTo(ask(connection, 1));
            answers.push(answer);
            return answer;
          },
          { timeout: 10_000 },
        )
        .toMatchObject({ kind: "content" });
      return answers;
    }
  });
});

async function readAll(stream: QuicStream): Promise<number> {
  const bytes = new Uint8Array(65_536);
  let received = 0;
  for (;;) {
    const length = await stream.read(bytes);
    if (length === 0) return received;
    received += length;
  }
}
