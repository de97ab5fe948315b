import { createTestAuthority } from "@damselfly/rpc/testing";
import type { ParentAddress, PieceRequest } from "@damselfly/transport";
import { codeOf, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { describe, expect, it } from "vitest";
import {
  createQuicDownloader,
  type QuicDownloader,
  type QuicDownloaderOptions,
} from "./quic-downloader.ts";
import { type QuicPieceServer, serveQuic, type ServeQuicOptions } from "./serve-quic.ts";
import { type BadPath, openBadPath } from "./testing/open-bad-path.ts";

const MIB = 1024 * 1024;
const LOOPBACK = { ip: "127.0.0.1", port: 0 };
/** Above what a busy machine needs for a round trip on loopback it cannot be told from a long path. */
const LONG = { lanRttMs: 0 };
const SHORT = { lanRttMs: 60_000 };
/** A multiple of the two seconds after which a parent is sure of its losses. */
const JUDGED_WITHIN_MS = 40_000;

interface Fixture {
  readonly source: SyntheticSource;
  readonly server: QuicPieceServer;
  readonly path: BadPath;
  readonly parent: ParentAddress;
  readonly downloader: QuicDownloader;
  readonly download: (request: PieceRequest) => Promise<number>;
}

describe("the congestion control of a path", () => {
  it("is cubic on one connection at the delay of a LAN", async () => {
    const options = { ...SHORT, server: { congestionControl: "cubic" } } as const;
    await withPath(options, async ({ source, server, downloader, download }) => {
      expect(await downloadMany(source, download, 20)).toBe(20 * MIB);
      // The first contact guessed a long path; by now it is known better.
      expect(await download(source.add(0, { length: 1 }))).toBe(1);
      const { connections } = server.stats();
      expect(connections.map(({ congestionControl }) => congestionControl)).toContain("cubic");
      expect(downloader.stats().parents).toMatchObject([
        { connectionCount: 1, width: 1, isHard: false },
      ]);
    });
  });

  it("is BBR on several connections where the way is long", async () => {
    await withPath(LONG, async ({ source, server, path, downloader, download }) => {
      path.delayMs = 10;
      await downloadMany(source, download, 60);
      const { connections } = server.stats();
      expect(new Set(connections.map(({ congestionControl }) => congestionControl))).toEqual(
        new Set(["bbr"]),
      );
      const [parent] = downloader.stats().parents;
      expect(parent).toMatchObject({ isHard: true });
      expect(parent?.width).toBeGreaterThanOrEqual(2);
      expect(server.stats().acceptedCount).toBeGreaterThanOrEqual(2);
    });
  });

  it("is what the operator of the child says, whatever the path", async () => {
    const options = { ...LONG, congestionControl: "reno" } as const;
    await withPath(options, async ({ source, server, download }) => {
      await downloadMany(source, download, 4);
      const kinds = server.stats().connections.map(({ congestionControl }) => congestionControl);
      expect(new Set(kinds)).toEqual(new Set(["reno"]));
    });
  });

  it("changes for new requests when the path turns out to be short after all", async () => {
    await withPath({ lanRttMs: 20_000 }, async ({ source, server, download }) => {
      expect(await download(source.add(0, { length: 1000 }))).toBe(1000);
      await downloadMany(source, download, 4);
      const { connections } = server.stats();
      expect(connections.map(({ congestionControl }) => congestionControl)).toContain("cubic");
    });
  });

  it("is BBR after a parent has seen losses under cubic, and nothing has to be sent twice", async () => {
    await withPath(SHORT, async ({ source, server, path, downloader, download }) => {
      // The path is known to be short.
      expect(await download(source.add(0, { length: 1000 }))).toBe(1000);
      await expect.poll(() => downloader.stats().parents[0]?.isHard).toBe(false);
      // The connection of the first contact may carry a few more pieces: BBR would not mind the losses.
      const isCubic = async (): Promise<boolean> => {
        expect(await download(source.add(0, { length: 1000 }))).toBe(1000);
        const { connections } = server.stats();
        return connections.every(({ congestionControl }) => congestionControl === "cubic");
      };
      await expect.poll(isCubic).toBe(true);
      path.loss = 0.03;
      // The parent looks twice a second and wants four bad looks: how many pieces that takes is the machine's matter.
      const until = performance.now() + JUDGED_WITHIN_MS;
      while (downloader.stats().redialCount === 0 && performance.now() < until) {
        expect(await download(source.add(1, { length: 12 * MIB }))).toBe(12 * MIB);
      }
      expect(downloader.stats().redialCount).toBe(1);
      expect(await download(source.add(2, { length: MIB }))).toBe(MIB);
      expect(server.stats().redialCount).toBe(1);
      const kinds = server.stats().connections.map(({ congestionControl }) => congestionControl);
      expect(new Set(kinds)).toEqual(new Set(["bbr"]));
      expect(downloader.stats().parents).toMatchObject([{ isHard: true }]);
    });
  }, 60_000);

  it("stays cubic, losses or not, where the operator of the parent says so", async () => {
    const server = { congestionControl: "cubic" } as const;
    await withPath({ ...SHORT, server }, async (fixture) => {
      fixture.path.loss = 0.03;
      expect(await fixture.download(fixture.source.add(0, { length: 12 * MIB }))).toBe(12 * MIB);
      expect(fixture.server.stats().redialCount).toBe(0);
    });
  }, 60_000);
});

describe("a lossy and long path", () => {
  it("delivers every byte of pieces of all lengths", async () => {
    await withPath(LONG, async ({ source, path, download, downloader }) => {
      path.delayMs = 5;
      path.loss = 0.02;
      const lengths = [0, 1, 65_536, 3 * MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB];
      const work = lengths.map((length, number) => download(source.add(number, { length })));
      expect(await Promise.all(work)).toEqual(lengths);
      expect(downloader.bytesInFlight).toBe(0);
      expect(downloader.stats().totals.receivedBytes).toBeGreaterThan(39 * MIB);
    });
  }, 60_000);
});

describe("early data", () => {
  it("carries the first request to a parent that is known", async () => {
    await withPath({ ...SHORT, pool: { idleTimeoutMs: 300 } }, async (fixture) => {
      const { source, server, downloader, download } = fixture;
      await becomeKnown(fixture);
      expect(await download(source.add(1, { length: 2 * MIB }))).toBe(2 * MIB);
      expect(downloader.stats().totals.earlyAcceptedCount).toBe(1);
      expect(server.stats().earlyAcceptedCount).toBe(1);
    });
  });

  it("is sent again by itself when the parent was restarted and knows the ticket no more", async () => {
    await withPath({ ...SHORT, pool: { idleTimeoutMs: 300 } }, async (fixture) => {
      await becomeKnown(fixture);
      await fixture.server[Symbol.asyncDispose]();
      const { source } = fixture;
      const { port } = fixture.server.address;
      const again = await serveQuic({ source, address: { ...LOOPBACK, port } });
      try {
        expect(await fixture.download(source.add(1, { length: MIB }))).toBe(MIB);
        expect(fixture.downloader.stats().totals.earlyRefusedCount).toBe(1);
      } finally {
        await again[Symbol.asyncDispose]();
      }
    });
  });

  it("is sent also after connections that were used for a moment only", async () => {
    await withPath({ ...SHORT, pool: { idleTimeoutMs: 1 } }, async (fixture) => {
      const { source, downloader, download } = fixture;
      for (let number = 0; number < 3; number++) {
        expect(await download(source.add(number, { length: 1000 }))).toBe(1000);
        await expect.poll(() => downloader.connectionCount, { timeout: 10_000 }).toBe(0);
      }
      expect(downloader.stats().totals.earlyAcceptedCount).toBeGreaterThan(0);
    });
  });

  it("is not sent where the operator of either side does not want it", async () => {
    for (const options of [{ earlyData: false }, { server: { earlyData: false } }]) {
      await withPath({ ...SHORT, ...options, pool: { idleTimeoutMs: 300 } }, async (fixture) => {
        const { source, downloader, download } = fixture;
        expect(await download(source.add(0, { length: 1000 }))).toBe(1000);
        await expect.poll(() => downloader.connectionCount, { timeout: 10_000 }).toBe(0);
        expect(await download(source.add(1, { length: 1000 }))).toBe(1000);
        expect(downloader.stats().totals.earlyAcceptedCount).toBe(0);
      });
    }
  });

  it("believes nobody but the parent with the right name, whatever the ticket", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue({ dnsNames: ["d7y", "node-7"] });
    const options = { ...SHORT, tls, server: { tls }, pool: { idleTimeoutMs: 300 } };
    await withPath(options, async (fixture) => {
      const { source, downloader, parent } = fixture;
      const named = { ...parent, hostname: "node-7" };
      const request = source.add(0, { length: 1000 });
      const download = async (): Promise<number> =>
        readPiece(await downloader.downloadPiece(named, request));
      expect(await download()).toBe(1000);
      await expect.poll(() => downloader.connectionCount, { timeout: 10_000 }).toBe(0);
      // Another node comes to be at the same address.
      await fixture.server[Symbol.asyncDispose]();
      const otherTls = await authority.issue({ dnsNames: ["d7y", "node-8"] });
      const address = { ...LOOPBACK, port: fixture.server.address.port };
      const other = await serveQuic({ source, address, tls: otherTls });
      try {
        expect(await codeOf(download())).toBe("ERR_PARENT_UNTRUSTED");
      } finally {
        await other[Symbol.asyncDispose]();
      }
    });
  });

  it("fails as unreachable when nobody is there any more", async () => {
    const timeouts = { connectMs: 1_000 };
    await withPath({ ...SHORT, timeouts, pool: { idleTimeoutMs: 300 } }, async (fixture) => {
      await becomeKnown(fixture);
      await fixture.server.abort();
      const request = fixture.source.add(1, { length: 1000 });
      expect(await codeOf(fixture.download(request))).toBe("ERR_PARENT_UNREACHABLE");
    });
  });

  async function becomeKnown({ source, downloader, download }: Fixture): Promise<void> {
    expect(await download(source.add(0, { length: 1000 }))).toBe(1000);
    await expect.poll(() => downloader.connectionCount, { timeout: 10_000 }).toBe(0);
  }
});

describe("what is given up", () => {
  it("leaves no stream, no budget and no reader behind, a thousand times", async () => {
    // What a busy machine loses on loopback must not be taken for a lossy path.
    const options = { ...SHORT, server: { congestionControl: "cubic" } } as const;
    await withPath(options, async ({ source, server, parent, downloader, download }) => {
      for (let round = 0; round < 20; round++) {
        const work = Array.from({ length: 50 }, async (_, number) => {
          const request = source.add(number, { length: 200_000 + number });
          const controller = new AbortController();
          const { signal } = controller;
          const downloading = downloader.downloadPiece(parent, request, { signal });
          if (number % 3 === 0) controller.abort(new Error("before it began"));
          const opened = await downloading.catch(() => undefined);
          if (number % 3 === 1) controller.abort(new Error("unread"));
          if (opened === undefined) return;
          for await (const chunk of opened.content) if (chunk.byteLength > 0) break;
        });
        await Promise.allSettled(work);
      }
      await source.untilFree();
      expect(downloader.bytesInFlight).toBe(0);
      await expect
        .poll(() => server.stats().connections.map(({ streamCount }) => streamCount))
        .toEqual([0]);
      expect(downloader.stats().connections.map(({ streamCount }) => streamCount)).toEqual([0]);
      expect(server.requestCount).toBe(0);
      expect(await download(source.add(99, { length: MIB }))).toBe(MIB);
    });
  }, 60_000);
});

async function downloadMany(
  source: SyntheticSource,
  download: Fixture["download"],
  count: number,
): Promise<number> {
  let total = 0;
  let next = 0;
  const work = Array.from({ length: Math.min(count, 16) }, async () => {
    while (next < count) {
      const length = await download(source.add(next++, { length: MIB }));
      total += length;
    }
  });
  await Promise.all(work);
  return total;
}

async function withPath(
  options: QuicDownloaderOptions & { readonly server?: Partial<ServeQuicOptions> },
  test: (fixture: Fixture) => Promise<void>,
): Promise<void> {
  const source = new SyntheticSource();
  const server = await serveQuic({ source, address: LOOPBACK, ...options.server });
  const path = await openBadPath(server.address.port);
  const timeouts = { connectMs: 20_000, ...options.timeouts };
  const { server: _server, ...downloaderOptions } = options;
  const downloader = createQuicDownloader({ ...downloaderOptions, timeouts });
  const parent = { hostId: "parent", ip: LOOPBACK.ip, ports: { quic: [path.port] } };
  const download = async (request: PieceRequest): Promise<number> =>
    readPiece(await downloader.downloadPiece(parent, request));
  try {
    await test({ source, server, path, parent, downloader, download });
  } finally {
    await downloader[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await path.close();
  }
}
