import { describe, expect, it } from "vitest";
import {
  codeOf,
  createGate,
  type Fixture,
  type FixtureOptions,
  type OpenFixture,
  readPiece,
  testTransport,
  withFixture,
} from "./conformance.ts";
import { createMemoryTransport } from "./memory-transport.ts";
import type { PieceSource, Protocol } from "./transport.ts";

testTransport("the memory transport", openFixture);

describe("createMemoryTransport", () => {
  it.each<Protocol>(["quic", "grpc", "tcp"])("can pass itself off as %s", async (protocol) => {
    const open: OpenFixture = async (options) => openFixture(options, { protocol });
    await withFixture(open, {}, async ({ downloader, parent, server }, source) => {
      expect([downloader.protocol, server.protocol]).toEqual([protocol, protocol]);
      const request = source.add(0, { length: 10 });
      expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(10);
    });
  });

  it("keeps networks apart", async () => {
    await withFixture(openFixture, {}, async ({ parent }, source) => {
      const request = source.add(0, { length: 10 });
      const elsewhere = createMemoryTransport().createDownloader();
      const downloading = elsewhere.downloadPiece(parent, request);
      expect(await codeOf(downloading)).toBe("ERR_PARENT_UNREACHABLE");
    });
  });

  it("cuts off what still runs when the time to close is over", async () => {
    const open: OpenFixture = async (options) => openFixture(options, { closeMs: 1 });
    await withFixture(open, {}, async ({ downloader, parent, server }, source) => {
      const stuck = createGate();
      const pause = (): Promise<void> => stuck.opened;
      const request = source.add(0, { length: 1000, pauseAt: 500, pause });
      const download = await downloader.downloadPiece(parent, request);
      const failed = codeOf(readPiece(download));
      await server[Symbol.asyncDispose]();
      expect(await failed).toBe("ERR_PIECE_TRUNCATED");
    });
  });

  it("frees a reader that comes after its child has given up", async () => {
    const open: OpenFixture = async (options) =>
      openFixture({ ...options, source: deaf(options.source) });
    await withFixture(open, { timeouts: { announceMs: 1 } }, async (fixture, source) => {
      const arrival = createGate();
      const request = source.add(0, { length: 1000, arrival: arrival.opened });
      const downloading = fixture.downloader.downloadPiece(fixture.parent, request);
      expect(await codeOf(downloading)).toBe("ERR_PARENT_STALLED");
      expect(source.openingCount).toBe(1);
      arrival.open();
      await source.until(() => source.openingCount === 0, "the piece has arrived");
    });
  });
});

/** The same source, but it does not listen to signals. */
function deaf(source: PieceSource): PieceSource {
  return { openPiece: async (request) => source.openPiece(request) };
}

async function openFixture(
  { source, limits, timeouts }: FixtureOptions,
  options: { readonly protocol?: Protocol; readonly closeMs?: number } = {},
): Promise<Fixture> {
  const transport = createMemoryTransport(options);
  const server = transport.servePieces({ source, limits, ...options });
  const downloader = transport.createDownloader({ timeouts });
  return {
    downloader,
    parent: server.parent,
    server,
    killParent: async () => server.kill(),
    openDownloader: async () => transport.createDownloader({ timeouts }),
    async [Symbol.asyncDispose]() {
      await downloader[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
