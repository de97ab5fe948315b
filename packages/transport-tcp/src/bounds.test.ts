import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { createTestAuthority } from "@damselfly/rpc/testing";
import type { ParentAddress, PieceRequest } from "@damselfly/transport";
import {
  codeOf,
  createGate,
  readPiece,
  SyntheticSource,
  TASK_ID,
} from "@damselfly/transport/conformance";
import { encodePacket, Tag } from "@damselfly/vortex";
import { afterEach, describe, expect, it } from "vitest";
import { serveTcp, type ServeTcpOptions, type TcpPieceServer } from "./serve-tcp.ts";
import {
  createTcpDownloader,
  type TcpDownloader,
  type TcpDownloaderOptions,
} from "./tcp-downloader.ts";
import { RawConnection } from "./testing/raw-connection.ts";

const LENGTH = 100_000;
/** A TLS handshake record that says there are 512 bytes to come. */
const HELLO_BEGINNING = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

interface Bench {
  readonly source: SyntheticSource;
  readonly server: TcpPieceServer;
  readonly parent: ParentAddress;
  readonly open: (options?: TcpDownloaderOptions) => TcpDownloader;
}

async function serve(options: Partial<ServeTcpOptions> = {}): Promise<Bench> {
  const source = new SyntheticSource();
  const address = { ip: "127.0.0.1", port: 0 };
  const server = await serveTcp({ source, address, plain: true, ...options });
  opened.push(server);
  const { ip, port } = server.address;
  return {
    source,
    server,
    parent: { hostId: "parent", ip, ports: { tcp: port } },
    open(more) {
      const downloader = createTcpDownloader(more);
      opened.push(downloader);
      return downloader;
    },
  };
}

/** As a Dragonfly child asks; `tag` and length are those of a request for a piece. */
function encodeRequest(pieceNumber: number): Uint8Array {
  return encodePacket({
    kind: "request",
    id: 1,
    tag: Tag.DownloadPiece,
    taskId: TASK_ID,
    pieceNumber,
  });
}

/** A connection that has asked, has its answer, and waits. */
async function openIdle(port: number): Promise<RawConnection> {
  const connection = await RawConnection.open(port);
  connection.write(encodeRequest(0));
  await connection.read(LENGTH);
  return connection;
}

describe("connections to a server", () => {
  it("beyond the limit take the place of those that wait for nothing, the one idle for longest first", async () => {
    const { source, server } = await serve({ limits: { connectionCountMax: 2 } });
    source.add(0, { length: LENGTH });
    const { port } = server.address;
    const [first, second] = [await openIdle(port), await openIdle(port)];
    const third = await openIdle(port);
    await first.untilEnded();
    expect([second.hasEnded, third.hasEnded]).toEqual([false, false]);
    for (let count = 0; count < 100; count++) await openIdle(port);
    await expect.poll(() => server.stats().connectionCount).toBe(2);
    expect(server.stats()).toMatchObject({ acceptedCount: 103, refusedCount: 0 });
  });

  it("beyond the limit are answered as busy and closed where all others are in use", async () => {
    const { source, server, parent, open } = await serve({ limits: { connectionCountMax: 2 } });
    const held = createGate();
    const request = source.add(0, { length: LENGTH });
    source.add(1, { length: LENGTH, arrival: held.opened });
    const using = [
      await RawConnection.open(server.address.port),
      await RawConnection.open(server.address.port),
    ];
    for (const connection of using) connection.write(encodeRequest(1));
    await source.until(() => source.openingCount === 2, "both are in use");
    const child = open();
    for (let count = 0; count < 20; count++) {
      expect(await codeOf(child.downloadPiece(parent, request))).toBe("ERR_PARENT_BUSY");
    }
    await expect.poll(() => child.connectionCount).toBe(0);
    expect(server.stats()).toMatchObject({ acceptedCount: 2, refusedCount: 20 });
    using[0]!.close();
    await source.until(() => source.openingCount === 1, "one has left");
    expect(await readPiece(await child.downloadPiece(parent, request))).toBe(LENGTH);
    held.open();
  });

  it("from one address are held to its share, and so are its requests", async () => {
    const limits = { connectionsPerAddressMax: 3, requestsPerAddressMax: 2 };
    const { source, server } = await serve({ address: { ip: "0.0.0.0", port: 0 }, limits });
    const { port } = server.address;
    const held = createGate();
    source.add(0, { length: LENGTH });
    source.add(1, { length: LENGTH, arrival: held.opened });
    const ask = async (pieceNumber: number, from: string): Promise<RawConnection> => {
      const connection = await RawConnection.open(port, from);
      connection.write(encodeRequest(pieceNumber));
      return connection;
    };
    for (let count = 0; count < 2; count++) await ask(1, "127.0.0.1");
    await source.until(() => source.openingCount === 2, "as many as one address may have");
    const third = await ask(0, "127.0.0.1");
    await expect.poll(() => third.unread.toString()).toContain("to this address already");
    // It waits for its next turn, and makes room for this one.
    const fourth = await ask(0, "127.0.0.1");
    await expect.poll(() => fourth.unread.toString()).toContain("to this address already");
    await third.untilEnded();
    const other = await ask(0, "127.0.0.2");
    await other.read(LENGTH);
    held.open();
  });

  it("that have asked for nothing yet cost the oldest of them its place, and nobody else", async () => {
    const { source, server, parent, open } = await serve({ halfOpenCountMax: 10 });
    const request = source.add(0, { length: LENGTH });
    const idle = await openIdle(server.address.port);
    const silent: RawConnection[] = [];
    for (let count = 0; count < 10; count++) {
      silent.push(await RawConnection.open(server.address.port));
    }
    await expect.poll(() => server.stats().connectionCount).toBe(11);
    expect(silent[0]!.hasEnded).toBe(false);
    for (let count = 0; count < 300; count++) {
      const connection = await RawConnection.open(server.address.port);
      connection.write(encodeRequest(0).subarray(0, 70));
      silent.push(connection);
    }
    await expect.poll(() => server.stats().connectionCount).toBe(11);
    await silent[0]!.untilEnded();
    expect(idle.hasEnded).toBe(false);
    expect(await readPiece(await open().downloadPiece(parent, request))).toBe(LENGTH);
  });

  it("that do not come to the end of TLS cost the oldest of them its place, or are closed in time", async () => {
    const authority = await createTestAuthority();
    const [tls, childTls] = [await authority.issue(), await authority.issue()];
    const { source, server, parent, open } = await serve({
      tls,
      plain: false,
      halfOpenCountMax: 10,
      idleMs: 5_000,
    });
    const request = source.add(0, { length: LENGTH });
    const stuck: RawConnection[] = [];
    const begin = async (): Promise<void> => {
      const connection = await RawConnection.open(server.address.port);
      connection.write(HELLO_BEGINNING);
      stuck.push(connection);
    };
    for (let count = 0; count < 10; count++) await begin();
    expect(server.stats().connectionCount).toBeLessThanOrEqual(10);
    for (let count = 0; count < 300; count++) await begin();
    for (const connection of stuck.slice(0, 300)) await connection.untilEnded();
    await expect.poll(() => server.stats().connectionCount).toBeLessThanOrEqual(10);
    const child = open({ tls: childTls });
    expect(await readPiece(await child.downloadPiece(parent, request))).toBe(LENGTH);
    for (const connection of stuck) await connection.untilEnded();
    await expect.poll(() => server.stats().connectionCount).toBeLessThanOrEqual(1);
    expect(server.stats().acceptedCount).toBe(1);
  });

  it("are not taken over beyond the limit of all of them, however far they have come", async () => {
    const { source, server, parent, open } = await serve({
      halfOpenCountMax: 10,
      limits: { connectionCountMax: 5 },
    });
    const request = source.add(0, { length: LENGTH });
    const accepted: Socket[] = [];
    const listener = createServer({ allowHalfOpen: true }, (socket) => accepted.push(socket));
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const address = listener.address();
    const port = typeof address === "object" ? address!.port : 0;
    const count = 10 + 5 + 100;
    for (let index = 0; index < count + 301; index++) await RawConnection.open(port);
    await expect.poll(() => accepted.length).toBe(count + 301);
    // In one go: those that the server closes are here until the system has closed them.
    for (const socket of accepted.slice(0, count)) server.take(socket);
    expect(server.stats()).toMatchObject({ connectionCount: count, refusedCount: 0 });
    server.take(accepted[count]!);
    expect(server.stats()).toMatchObject({ connectionCount: count, refusedCount: 1 });
    for (const socket of accepted.slice(count + 1)) server.take(socket);
    expect(server.stats()).toMatchObject({ connectionCount: count, refusedCount: 301 });
    await expect.poll(() => server.stats().connectionCount).toBe(10);
    expect(accepted.filter(({ destroyed }) => !destroyed)).toEqual(
      accepted.slice(count - 10, count),
    );
    expect(await readPiece(await open().downloadPiece(parent, request))).toBe(LENGTH);
    listener.close();
  });

  it("begin no faster than an address may", async () => {
    const { source, server, parent, open } = await serve({ connectionsPerSecondMax: 20 });
    const request = source.add(0, { length: LENGTH });
    const begun = await Promise.all(
      Array.from({ length: 300 }, () => RawConnection.open(server.address.port)),
    );
    await expect.poll(() => begun.filter(({ hasEnded }) => hasEnded).length).toBeGreaterThan(150);
    expect(server.stats().refusedCount).toBeGreaterThan(150);
    const child = open();
    await expect
      .poll(() => child.downloadPiece(parent, request).then(readPiece, () => 0), {
        timeout: 10_000,
      })
      .toBe(LENGTH);
  });
});

describe("a child that breaks its connection in the middle of a piece", () => {
  it("is nothing to complain of", async () => {
    const warnings: string[] = [];
    const { source, server } = await serve({
      logger: { debug: () => {}, warn: (_fields, message) => void warnings.push(message) },
    });
    const { taskId, pieceNumber } = source.add(0, { length: 256 * 1024 * 1024 });
    const request = encodePacket({
      kind: "request",
      id: 1,
      tag: Tag.DownloadPiece,
      taskId,
      pieceNumber,
    });
    for (let count = 0; count < 5; count++) {
      const child = await RawConnection.open(server.address.port);
      child.write(request);
      await child.read(1_000_000);
      child.socket.resetAndDestroy();
      await source.untilFree();
    }
    expect(warnings).toEqual([]);
  });
});

describe("connections of a downloader", () => {
  it("are no more than its capacity, once nobody needs them", async () => {
    const { source, parent, open } = await serve();
    const child = open({ pool: { capacity: 3 } });
    const held = createGate();
    const reading = Array.from({ length: 8 }, async (_, number) => {
      const request = source.add(number, { length: LENGTH, arrival: held.opened });
      return readPiece(await child.downloadPiece(parent, request));
    });
    await source.until(() => source.openingCount === 8, "all are asked for");
    expect(child.connectionCount).toBe(8);
    held.open();
    expect(await Promise.all(reading)).toEqual(Array.from({ length: 8 }, () => LENGTH));
    await expect.poll(() => child.connectionCount).toBeLessThanOrEqual(3);
  });

  it("to one parent make room for those to another", async () => {
    const [first, second] = [await serve(), await serve()];
    const child = first.open({ pool: { capacity: 1 } });
    const fetch = async ({ source, parent }: Bench): Promise<number> =>
      readPiece(await child.downloadPiece(parent, source.add(0, { length: LENGTH })));
    expect(await fetch(first)).toBe(LENGTH);
    expect(await fetch(second)).toBe(LENGTH);
    await expect.poll(() => child.connectionCount).toBe(1);
    expect(await fetch(second)).toBe(LENGTH);
    expect(second.server.stats().acceptedCount).toBe(1);
  });

  it("are dialled a few at a time, and shared by those who wait", async () => {
    const { source, server, parent, open } = await serve();
    const child = open();
    const lengths = await Promise.all(
      Array.from({ length: 300 }, async (_, number) =>
        readPiece(await child.downloadPiece(parent, source.add(number, { length: 100 }))),
      ),
    );
    expect(lengths).toHaveLength(300);
    expect(server.stats().acceptedCount).toBeLessThan(300);
  });

  it("fail at once for all who wait, where nobody listens", async () => {
    const { source, server, parent, open } = await serve();
    await server.abort();
    const child = open();
    const request = source.add(0, { length: 1 });
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () => codeOf(child.downloadPiece(parent, request))),
    );
    expect(new Set(outcomes)).toEqual(new Set(["ERR_PARENT_UNREACHABLE"]));
    await expect.poll(() => child.connectionCount).toBe(0);
  });
});

describe("memory", () => {
  it("of pieces that run at once and are given up half-way is never mixed up", async () => {
    const { source, parent, open } = await serve();
    const child = open();
    const work = Array.from({ length: 90 }, async (_, pieceNumber) => {
      const request = source.add(pieceNumber, { length: 700_000 + pieceNumber });
      const download = await child.downloadPiece(parent, request);
      if (pieceNumber % 3 > 0) return readPiece(download);
      for await (const chunk of download.content) return chunk.byteLength;
      return 0;
    });
    const lengths = await Promise.all(work);
    expect(lengths.filter((length) => length >= 700_000)).toHaveLength(60);
    await source.untilFree();
  });

  it("is bounded by the ring, however long the piece and slow its reader", async () => {
    const { source, parent, open } = await serve();
    const length = 64 * 1024 * 1024;
    const request = source.add(0, { length, chunkLength: 262_144 });
    const download = await open().downloadPiece(parent, request);
    let longest = 0;
    let received = 0;
    for await (const chunk of download.content) {
      longest = Math.max(longest, chunk.byteLength);
      if (received === 0) await new Promise((resolve) => setTimeout(resolve, 300)); // for it to fill
      received += chunk.byteLength;
    }
    expect(received).toBe(length);
    expect(longest).toBeLessThanOrEqual(1024 * 1024);
  });
});

describe("a server that is closed", () => {
  it("cuts what does not finish in time", async () => {
    const { source, server, parent, open } = await serve({ closeMs: 100 });
    const stuck = createGate();
    const pause = (): Promise<void> => stuck.opened;
    const request = source.add(0, { length: LENGTH, pauseAt: 50_000, pause });
    const download = await open().downloadPiece(parent, request);
    const reading = codeOf(readPiece(download));
    expect(server.requestCount).toBe(1);
    await server[Symbol.asyncDispose]();
    expect(await reading).toBe("ERR_PIECE_TRUNCATED");
    await source.untilFree();
  });

  it("does not wait for connections on which nothing runs, nor for those that never said anything", async () => {
    const { source, server, parent, open } = await serve({ closeMs: 60_000 });
    const child = open();
    const request: PieceRequest = source.add(0, { length: LENGTH });
    expect(await readPiece(await child.downloadPiece(parent, request))).toBe(LENGTH);
    const silent = await RawConnection.open(server.address.port);
    await expect.poll(() => server.stats().connectionCount).toBe(2);
    await server[Symbol.asyncDispose]();
    await silent.readAll();
    await expect.poll(() => child.connectionCount).toBe(0);
    silent.close();
  });
});

describe("serveTcp", () => {
  it("says which address is taken, and which is none", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address!.port : 0;
    const start = (ip: string): Promise<unknown> =>
      serveTcp({ source: new SyntheticSource(), plain: true, address: { ip, port } });
    await expect(start("127.0.0.1")).rejects.toMatchObject({
      code: "ERR_ADDRESS_IN_USE",
      message: expect.stringContaining("another process is serving there"),
    });
    await expect(start("192.0.2.1")).rejects.toMatchObject({ code: "ERR_LISTEN_FAILED" });
    other.close();
  });

  it("serves over IPv6", async () => {
    const { source, server, open } = await serve({ address: { ip: "::1", port: 0 } });
    const parent = { hostId: "six", ip: "::1", ports: { tcp: server.address.port } };
    const request = source.add(0, { length: LENGTH });
    expect(await readPiece(await open().downloadPiece(parent, request))).toBe(LENGTH);
  });
});
