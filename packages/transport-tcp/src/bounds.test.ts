import { createServer } from "node:net";
import { once } from "node:events";
import type { ParentAddress, PieceRequest } from "@damselfly/transport";
import { codeOf, createGate, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { afterEach, describe, expect, it } from "vitest";
import { serveTcp, type ServeTcpOptions, type TcpPieceServer } from "./serve-tcp.ts";
import {
  createTcpDownloader,
  type TcpDownloader,
  type TcpDownloaderOptions,
} from "./tcp-downloader.ts";
import { RawConnection } from "./testing/raw-connection.ts";

const LENGTH = 100_000;
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

describe("connections to a server", () => {
  it("beyond the limit are answered as busy and closed, far beyond it only closed", async () => {
    const { source, server, parent, open } = await serve({ limits: { connectionCountMax: 2 } });
    const request = source.add(0, { length: LENGTH });
    const { port } = server.address;
    const held = [await RawConnection.open(port), await RawConnection.open(port)];
    await expect.poll(() => server.stats().connectionCount).toBe(2);
    const child = open();
    expect(await codeOf(child.downloadPiece(parent, request))).toBe("ERR_PARENT_BUSY");
    await expect.poll(() => child.connectionCount).toBe(0);
    expect(server.stats()).toMatchObject({ acceptedCount: 2, refusedCount: 1 });
    held[0]!.close();
    await expect.poll(() => server.stats().connectionCount).toBe(1);
    expect(await readPiece(await child.downloadPiece(parent, request))).toBe(LENGTH);

    for (let count = 0; count < 100; count++) held.push(await RawConnection.open(port));
    await expect.poll(() => server.stats().connectionCount).toBe(102);
    const late = await RawConnection.open(port);
    await late.readAll();
    expect(server.stats().refusedCount).toBeGreaterThan(100);
    for (const connection of held) connection.close();
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
