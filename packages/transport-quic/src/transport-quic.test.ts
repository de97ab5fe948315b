import { createTestAuthority } from "@damselfly/rpc/testing";
import {
  openQuicEndpoint,
  type QuicEndpoint,
  type QuicEndpointOptions,
  type QuicStream,
} from "@damselfly/quic";
import type { ParentAddress } from "@damselfly/transport";
import { codeOf, createGate, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { encodePacket, ErrorCode, Tag } from "@damselfly/vortex";
import { describe, expect, it } from "vitest";
import { ALPN } from "./codes.ts";
import { createQuicDownloader, type QuicDownloaderOptions } from "./quic-downloader.ts";
import { serveQuic } from "./serve-quic.ts";

const LOOPBACK = { ip: "127.0.0.1", port: 0 };
const REQUEST = { taskId: "a".repeat(64), pieceNumber: 7 };
const ANNOUNCEMENT = {
  kind: "content",
  id: 1,
  tag: Tag.PieceContent,
  pieceNumber: 7,
  offset: 0,
  length: 10,
  digest: "crc32:1",
  parentId: "",
  trafficType: 1,
  costSeconds: 0,
  createdAtSeconds: 0,
} as const;

function parentAt(port: number, more: Partial<ParentAddress> = {}): ParentAddress {
  return { hostId: "parent", ip: LOOPBACK.ip, ports: { quic: [port] }, ...more };
}

/** What a downloader makes of a parent that answers a request as `answer` does. */
async function meet(answer: (stream: QuicStream) => Promise<void>): Promise<unknown> {
  const endpoint = await openQuicEndpoint({
    address: LOOPBACK,
    alpn: ALPN,
    tls: "insecure",
    accept(connection) {
      connection.onStream = (stream) => {
        answer(stream).catch(() => stream.reset(0));
      };
    },
  });
  const downloader = createQuicDownloader({ timeouts: { announceMs: 2_000 } });
  try {
    const download = await downloader.downloadPiece(parentAt(endpoint.address.port), REQUEST);
    let received = 0;
    for await (const chunk of download.content) received += chunk.byteLength;
    return received;
  } catch (error) {
    return error;
  } finally {
    await downloader[Symbol.asyncDispose]();
    await endpoint[Symbol.asyncDispose]();
  }
}

/** What a server makes of a child that sends `bytes` as its request. */
async function ask(bytes: Uint8Array): Promise<unknown> {
  const server = await serveQuic({ source: new SyntheticSource(), address: LOOPBACK });
  const endpoint = await openQuicEndpoint({ address: LOOPBACK, alpn: ALPN, tls: "insecure" });
  try {
    const connection = await endpoint.dial(server.address);
    const stream = connection.openStream();
    await stream.end(bytes);
    const answer = Buffer.alloc(1000);
    return answer.subarray(0, await stream.read(answer));
  } catch (error) {
    return error;
  } finally {
    await endpoint[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
}

describe("a parent that breaks the protocol", () => {
  it.each<[string, Uint8Array, string]>([
    ["noise", Buffer.alloc(200, 0x99), "ERR_PROTOCOL"],
    ["nothing", Buffer.alloc(0), "ERR_PROTOCOL"],
    ["half an announcement", encodePacket(ANNOUNCEMENT).subarray(0, 30), "ERR_PROTOCOL"],
    ["another piece", encodePacket({ ...ANNOUNCEMENT, pieceNumber: 8 }), "ERR_PROTOCOL"],
    ["another kind", encodePacket({ kind: "close", id: 1, tag: Tag.Close }), "ERR_PROTOCOL"],
    [
      "too little content",
      Buffer.concat([encodePacket(ANNOUNCEMENT), Buffer.alloc(9)]),
      "ERR_PIECE_TRUNCATED",
    ],
    [
      "too much content",
      Buffer.concat([encodePacket(ANNOUNCEMENT), Buffer.alloc(11)]),
      "ERR_PROTOCOL",
    ],
    [
      "an unknown error",
      encodePacket({
        kind: "error",
        id: 1,
        tag: Tag.Error,
        code: ErrorCode.Unknown,
        message: "\u0007 no",
      }),
      "ERR_PARENT_FAILED",
    ],
  ])("is found out when it sends %s", async (_, bytes, code) => {
    expect(await meet((stream) => stream.end(bytes))).toMatchObject({ code });
  });

  it("is found out when it announces more than there is", async () => {
    const length = Number.MAX_SAFE_INTEGER;
    const bytes = encodePacket({ ...ANNOUNCEMENT, length });
    expect(await meet((stream) => stream.end(bytes))).toMatchObject({
      code: "ERR_PIECE_TRUNCATED",
    });
  });

  it("is believed when it keeps the protocol", async () => {
    const bytes = Buffer.concat([encodePacket(ANNOUNCEMENT), Buffer.alloc(10)]);
    expect(await meet((stream) => stream.end(bytes))).toBe(10);
  });
});

describe("a child that breaks the protocol", () => {
  const request = encodePacket({ kind: "request", id: 1, tag: Tag.DownloadPiece, ...REQUEST });

  it.each<[string, Uint8Array]>([
    ["noise", Buffer.alloc(200, 0x99)],
    ["nothing", Buffer.alloc(0)],
    ["half a request", request.subarray(0, 40)],
    ["more than a request", Buffer.concat([request, Buffer.alloc(1)])],
    ["a path for a task", encodePacket({ ...ask0(), taskId: `../${"a".repeat(61)}` })],
    ["an answer", encodePacket(ANNOUNCEMENT)],
  ])("is reset when it sends %s", async (_, bytes) => {
    expect(await ask(bytes)).toMatchObject({ code: "ERR_STREAM_RESET", applicationCode: 3 });
  });

  it("is answered when it keeps the protocol", async () => {
    const answer = await ask(request);
    expect(answer instanceof Uint8Array && answer[1]).toBe(Tag.Error);
  });

  function ask0(): { kind: "request"; id: number; tag: 0; taskId: string; pieceNumber: number } {
    return { kind: "request", id: 1, tag: Tag.DownloadPiece, ...REQUEST };
  }
});

describe("who a parent is", () => {
  it("must be in its certificate, where a hostname is known", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue({ dnsNames: ["d7y", "node-7"] });
    const source = new SyntheticSource();
    const request = source.add(0, { length: 1000 });
    const server = await serveQuic({ source, tls, address: LOOPBACK });
    const timeouts = { connectMs: 20_000 };
    const downloader = createQuicDownloader({ tls, timeouts });
    const { port } = server.address;
    const as = (hostname: string): Promise<number> =>
      downloader.downloadPiece(parentAt(port, { hostname }), request).then(readPiece);
    expect(await as("node-7")).toBe(1000);
    expect(await codeOf(as("node-8"))).toBe("ERR_PARENT_UNTRUSTED");
    expect(await codeOf(as("node"))).toBe("ERR_PARENT_UNTRUSTED");
    const nobody = createQuicDownloader({ timeouts });
    const asking = nobody.downloadPiece(parentAt(port), request);
    expect(await codeOf(asking)).toBe("ERR_PARENT_UNTRUSTED");
    await nobody[Symbol.asyncDispose]();
    await downloader[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("does not matter to a downloader whose own TLS is unusable, which says so", async () => {
    const downloader = createQuicDownloader({ tls: { caCert: "", cert: "", key: "" } });
    const downloading = downloader.downloadPiece(parentAt(1), REQUEST);
    await expect(downloading).rejects.toThrow("the certificate is not readable PEM");
    await downloader[Symbol.asyncDispose]();
  });
});

describe("the pool", () => {
  it("dials once for requests that come at once", async () => {
    await withServer({}, async ({ source, download, server }) => {
      const request = source.add(0, { length: 1000 });
      await Promise.all(Array.from({ length: 50 }, () => download(request)));
      expect(server.stats().acceptedCount).toBe(1);
    });
  });

  it("does not let one request's abort spoil the dial of another", async () => {
    await withServer({}, async ({ source, downloader, parent, download, server }) => {
      const request = source.add(0, { length: 1000 });
      const controller = new AbortController();
      const { signal } = controller;
      const aborted = codeOf(downloader.downloadPiece(parent, request, { signal }));
      const other = download(request);
      controller.abort(new Error("enough"));
      expect(await aborted).toMatchObject({ message: "enough" });
      expect(await other).toBe(1000);
      expect(server.stats().acceptedCount).toBe(1);
    });
  });

  it("replaces a connection that the parent has closed", async () => {
    const source = new SyntheticSource();
    const request = source.add(0, { length: 1000 });
    const first = await serveQuic({ source, address: LOOPBACK });
    const { port } = first.address;
    const downloader = createQuicDownloader();
    const download = (): Promise<number> =>
      downloader.downloadPiece(parentAt(port), request).then(readPiece);
    expect(await download()).toBe(1000);
    await first[Symbol.asyncDispose]();
    await expect.poll(() => downloader.connectionCount).toBe(0);
    const second = await serveQuic({ source, address: { ...LOOPBACK, port } });
    expect(await download()).toBe(1000);
    await downloader[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
  });

  it("replaces a connection on which the parent grants no further stream", async () => {
    const source = new SyntheticSource();
    const stuck = createGate();
    const pause = (): Promise<void> => stuck.opened;
    const requests = [0, 1, 2].map((number) =>
      source.add(number, { length: 1000, pauseAt: 500, pause }),
    );
    const server = await serveQuic({
      source,
      address: LOOPBACK,
      openEndpoint: (options) => {
        const limits = { ...options.limits, streamCountMax: 2, abandonedStreamCountMax: 0 };
        return openQuicEndpoint({ ...options, limits });
      },
    });
    const downloader = createQuicDownloader();
    const parent = parentAt(server.address.port);
    const downloads = await Promise.all(
      requests.map((request) => downloader.downloadPiece(parent, request)),
    );
    expect(server.stats().acceptedCount).toBe(2);
    stuck.open();
    const reading = downloads.map((download) => readPiece(download));
    expect(await Promise.all(reading)).toEqual([1000, 1000, 1000]);
    await downloader[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("replaces an idle connection whose parent was restarted without a word", async () => {
    const source = new SyntheticSource();
    const request = source.add(0, { length: 1000 });
    const first = await serveQuic({ source, address: LOOPBACK });
    const { port } = first.address;
    const downloader = createQuicDownloader({ timeouts: { connectMs: 500 } });
    const download = (): Promise<number> =>
      downloader.downloadPiece(parentAt(port), request).then(readPiece);
    expect(await download()).toBe(1000);
    await first.abort();
    const second = await serveQuic({ source, address: { ...LOOPBACK, port } });
    expect(await download()).toBe(1000);
    expect(downloader.connectionCount).toBe(1);
    await downloader[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
  });

  it("lets an evicted connection finish what runs on it", async () => {
    await withServer(
      { pool: { capacity: 1 } },
      async ({ source, downloader, parent, download }) => {
        const held = createGate();
        const pause = (): Promise<void> => held.opened;
        const slow = source.add(0, { length: 100_000, pauseAt: 50_000, pause });
        const quick = source.add(1, { length: 1000 });
        const downloading = await downloader.downloadPiece(parent, slow);
        const reading = readPiece(downloading);
        const otherwise = { ...parent, hostname: "another-key" };
        expect(await readPiece(await downloader.downloadPiece(otherwise, quick))).toBe(1000);
        expect(downloader.connectionCount).toBe(2);
        held.open();
        expect(await reading).toBe(100_000);
        await expect.poll(() => downloader.connectionCount).toBe(1);
        expect(await download(quick)).toBe(1000);
      },
    );
  });

  it("spreads pieces over the ports of a parent", async () => {
    const source = new SyntheticSource();
    const servers = [
      await serveQuic({ source, address: LOOPBACK }),
      await serveQuic({ source, address: LOOPBACK }),
    ];
    const downloader = createQuicDownloader();
    const parent = { ...parentAt(0), ports: { quic: servers.map(({ address }) => address.port) } };
    for (let number = 0; number < 4; number++) {
      const download = await downloader.downloadPiece(parent, source.add(number, { length: 10 }));
      expect(await readPiece(download)).toBe(10);
    }
    expect(servers.map((server) => server.stats().acceptedCount)).toEqual([1, 1]);
    expect(downloader.stats().connections).toHaveLength(2);
    await downloader[Symbol.asyncDispose]();
    for (const server of servers) await server[Symbol.asyncDispose]();
  });

  it("reaches a parent over IPv6", async () => {
    const source = new SyntheticSource();
    const server = await serveQuic({ source, address: { ip: "::1", port: 0 } });
    const downloader = createQuicDownloader();
    const parent = { ...parentAt(server.address.port), ip: "::1" };
    const download = await downloader.downloadPiece(parent, source.add(0, { length: 300_000 }));
    expect(await readPiece(download)).toBe(300_000);
    await downloader[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
});

describe("another backend", () => {
  it("is dialled at its own port, with the key that is expected there", async () => {
    const source = new SyntheticSource();
    const request = source.add(0, { length: 1000 });
    const opened: string[] = [];
    const keys: unknown[] = [];
    const openEndpoint = async (options: QuicEndpointOptions): Promise<QuicEndpoint> => {
      opened.push(options.address.ip);
      const endpoint = await openQuicEndpoint(options);
      const dial = endpoint.dial.bind(endpoint);
      endpoint.dial = (target, { peerKey, ...rest } = {}) => {
        keys.push(peerKey);
        return dial(target, rest);
      };
      return endpoint;
    };
    const server = await serveQuic({ source, address: LOOPBACK, openEndpoint });
    const downloader = createQuicDownloader({ openEndpoint, backend: "quinn" });
    const parent = parentAt(1, { quinn: { port: server.address.port, key: "12D3KooW" } });
    expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(1000);
    const elsewhere = downloader.downloadPiece(parentAt(server.address.port), request);
    expect(await codeOf(elsewhere)).toBe("ERR_PARENT_UNREACHABLE");
    expect([opened, keys]).toEqual([["127.0.0.1", "0.0.0.0"], ["12D3KooW"]]);
    await downloader[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
});

describe("serveQuic", () => {
  it("cuts what does not finish in time when it is closed", async () => {
    const source = new SyntheticSource();
    const stuck = createGate();
    const pause = (): Promise<void> => stuck.opened;
    const request = source.add(0, { length: 100_000, pauseAt: 50_000, pause });
    const server = await serveQuic({ source, address: LOOPBACK, closeMs: 100 });
    const downloader = createQuicDownloader();
    const download = await downloader.downloadPiece(parentAt(server.address.port), request);
    const reading = codeOf(readPiece(download));
    expect(server.requestCount).toBe(1);
    await server[Symbol.asyncDispose]();
    expect(await reading).toBe("ERR_PIECE_TRUNCATED");
    await source.untilFree();
    await downloader[Symbol.asyncDispose]();
  });

  it("never mixes up the memory of pieces that run at once and are given up half-way", async () => {
    await withServer({}, async ({ source, downloader, parent, download }) => {
      const work = Array.from({ length: 60 }, async (_, pieceNumber) => {
        const request = source.add(pieceNumber, { length: 300_000 + pieceNumber });
        if (pieceNumber % 3 > 0) return download(request);
        const left = await downloader.downloadPiece(parent, request);
        for await (const chunk of left.content) return chunk.byteLength;
        return 0;
      });
      const lengths = await Promise.all(work);
      expect(lengths.filter((length) => length >= 300_000)).toHaveLength(40);
    });
  });
});

async function withServer(
  options: QuicDownloaderOptions,
  test: (fixture: {
    readonly source: SyntheticSource;
    readonly downloader: ReturnType<typeof createQuicDownloader>;
    readonly server: Awaited<ReturnType<typeof serveQuic>>;
    readonly parent: ParentAddress;
    readonly download: (request: { taskId: string; pieceNumber: number }) => Promise<number>;
  }) => Promise<void>,
): Promise<void> {
  const source = new SyntheticSource();
  const server = await serveQuic({ source, address: LOOPBACK });
  const downloader = createQuicDownloader(options);
  const parent = parentAt(server.address.port);
  try {
    await test({
      source,
      downloader,
      server,
      parent,
      download: async (request) => readPiece(await downloader.downloadPiece(parent, request)),
    });
    await source.untilFree();
  } finally {
    await downloader[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
}
