import { codeOf, createGate, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { ByteBudget } from "@damselfly/limits";
import { type QuicConnection, QuicError, type QuicStream } from "@damselfly/quic";
import type { PieceRequest } from "@damselfly/transport";
import { encodePacket, Tag } from "@damselfly/vortex";
import { describe, expect, it } from "vitest";
import type { Answer } from "./piece-asker.ts";
import {
  createQuicDownloader,
  type QuicDownloader,
  type QuicDownloaderOptions,
} from "./quic-downloader.ts";
import { RangedContent } from "./ranged-content.ts";
import { ReadBuffers } from "./read-buffers.ts";
import { type BreakingParent, openBreakingParent } from "./testing/open-breaking-parent.ts";

const MIB = 1024 * 1024;
const LENGTH = 20 * MIB + 1; // three ranges, the last one not full

describe("a piece longer than a range", () => {
  it("is asked for in ranges", async () => {
    await withParent({}, async ({ source, download }) => {
      const request = source.add(0, { length: LENGTH });
      expect(await download(request)).toBe(LENGTH);
      expect(source.requestCount).toBe(3);
    });
  });

  it("is asked for in ranges of what was wanted of it", async () => {
    await withParent({}, async ({ source, download }) => {
      const range = { offset: 3 * MIB + 1, length: 9 * MIB };
      expect(await download({ ...source.add(0, { length: LENGTH }), range })).toBe(9 * MIB);
      expect(source.requestCount).toBe(2);
    });
  });

  it("arrives from a parent that serves one request at a time", async () => {
    await withParent({ requestCountMax: 1 }, async ({ source, download }) => {
      expect(await download(source.add(0, { length: LENGTH }))).toBe(LENGTH);
    });
  });

  it("keeps to a budget shorter than itself, as do its neighbours", async () => {
    const options = { bytesInFlightMax: 8 * MIB };
    await withParent({ options }, async ({ source, download, downloader }) => {
      const lengths = [LENGTH, 5 * MIB, 9 * MIB, 1, 0];
      const work = lengths.map((length, number) => download(source.add(number, { length })));
      expect(await Promise.all(work)).toEqual(lengths);
      expect(downloader.bytesInFlight).toBe(0);
    });
  });

  it("counts in the budget only as long as it runs", async () => {
    await withParent({}, async ({ source, parent, downloader }) => {
      const request = source.add(0, { length: LENGTH });
      const unread = await downloader.downloadPiece(parent.address, request);
      expect(downloader.bytesInFlight).toBe(8 * MIB);
      await unread[Symbol.asyncDispose]();
      expect(downloader.bytesInFlight).toBe(0);
      const missing = { ...request, pieceNumber: 99 };
      expect(await codeOf(downloader.downloadPiece(parent.address, missing))).toBe(
        "ERR_PIECE_NOT_FOUND",
      );
      expect(downloader.bytesInFlight).toBe(0);
    });
  });

  it("waits for the budget no longer than its signal allows", async () => {
    const options = { bytesInFlightMax: 1 };
    await withParent({ options }, async ({ source, parent, downloader }) => {
      const request = source.add(0, { length: 1000 });
      const unread = await downloader.downloadPiece(parent.address, request);
      const controller = new AbortController();
      const { signal } = controller;
      const waiting = downloader.downloadPiece(parent.address, request, { signal });
      controller.abort(new Error("enough"));
      await expect(waiting).rejects.toThrow("enough");
      expect(await readPiece(unread)).toBe(1000);
      expect(downloader.bytesInFlight).toBe(0);
    });
  });
});

describe("a piece whose connection breaks", () => {
  it("is finished on another connection, without what has arrived being asked for again", async () => {
    await withParent({}, async ({ source, parent, downloader }) => {
      const request = source.add(0, { length: LENGTH });
      const download = await downloader.downloadPiece(parent.address, request);
      const breaks = [1 * MIB, 10 * MIB, 19 * MIB];
      const received = await readPiece(download, (count) => {
        if (count < (breaks[0] ?? Infinity)) return;
        breaks.shift();
        parent.breakConnections();
      });
      expect(received).toBe(LENGTH);
      expect(parent.acceptedCount).toBe(4);
      await source.untilFree();
    });
  });

  it("is finished when the piece is short, too", async () => {
    await withParent({}, async ({ source, parent, downloader }) => {
      const held = createGate();
      const pause = (): Promise<void> => held.opened;
      const request = source.add(0, { length: 500_000, pauseAt: 300_000, pause });
      const download = await downloader.downloadPiece(parent.address, request);
      let isBroken = false;
      const received = await readPiece(download, (count) => {
        if (count < 200_000 || isBroken) return;
        isBroken = true;
        parent.breakConnections();
        held.open();
      });
      expect(received).toBe(500_000);
      expect(parent.acceptedCount).toBe(2);
    });
  });

  it("is asked for again when it breaks before the announcement", async () => {
    await withParent({}, async ({ source, parent, download }) => {
      const arrival = createGate();
      const request = source.add(0, { length: 1000, arrival: arrival.opened });
      const downloading = download(request);
      await source.until(() => source.openingCount === 1, "the parent is asked");
      parent.breakConnections();
      arrival.open();
      expect(await downloading).toBe(1000);
    });
  });

  it("fails when the parent has another piece in its place by then", async () => {
    await withParent({}, async ({ source, parent, downloader }) => {
      const request = source.add(0, { length: LENGTH, digest: "crc32:1" });
      const download = await downloader.downloadPiece(parent.address, request);
      const reading = readPiece(download, () => {
        source.add(0, { length: LENGTH, digest: "crc32:2" });
        parent.breakConnections();
      });
      expect(await codeOf(reading)).toBe("ERR_PARENT_FAILED");
    });
  });

  it("fails as truncated when connections break again and again without a byte", async () => {
    const announcement = encodePacket({
      kind: "content",
      id: 1,
      tag: Tag.PieceContent,
      pieceNumber: 0,
      offset: 0,
      length: 1000,
      digest: "crc32:1",
      parentId: "",
      trafficType: 1,
      costSeconds: 0,
      createdAtSeconds: 0,
    });
    const answer = async (stream: QuicStream, connection: QuicConnection): Promise<void> => {
      await stream.write(announcement);
      setTimeout(() => connection.close(0), 50);
    };
    await withParent({ answer }, async ({ source, parent, downloader, download }) => {
      expect(await codeOf(download(source.add(0, { length: 1000 })))).toBe("ERR_PIECE_TRUNCATED");
      expect(parent.acceptedCount).toBeLessThanOrEqual(12);
      expect(downloader.bytesInFlight).toBe(0);
    });
  });

  it.each([
    [3, 0, "whole"],
    [4, 0, "ERR_PIECE_TRUNCATED"],
    [1_000, 0, "ERR_PIECE_TRUNCATED"],
    [1_000, 1, "whole"],
  ])(
    "is asked for again three times in a row, when %i break after %i bytes each",
    async (breakCount, lengthEach, outcome) => {
      let askedCount = 0;
      const piece = { number: 0, offset: 0, length: 2_000, digest: "crc32:1" };
      const answer = (length: number): Answer => {
        askedCount += 1;
        const isBreaking = askedCount <= breakCount;
        let left = isBreaking ? lengthEach : length;
        const read = async (): Promise<number> => {
          const taken = left;
          left = 0;
          if (taken === 0 && isBreaking) throw new QuicError("ERR_CONNECTION_LOST", "it broke");
          return taken;
        };
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
        const stream = { read } as unknown as QuicStream;
        return { piece, stream, rest: new Uint8Array(0), free: () => {} };
      };
      const budget = new ByteBudget(MIB);
      const content = new RangedContent({
        piece,
        range: { offset: 0, length: piece.length },
        first: answer(piece.length),
        firstLength: piece.length,
        reservation: budget.tryReserve(piece.length)!,
        ask: async ({ length }) => answer(length),
        width: () => 1,
        budget,
        buffers: new ReadBuffers(),
        what: "Cannot fetch",
      });
      let length = 0;
      const reading = (async () => {
        for await (const chunk of content.chunks()) length += chunk.byteLength;
      })();
      if (outcome === "whole") {
        await reading;
        expect([length, askedCount]).toEqual([piece.length, breakCount + 1]);
      } else {
        expect(await codeOf(reading)).toBe(outcome);
        expect(askedCount).toBe(4);
      }
    },
  );

  it("fails as truncated when nobody listens there any more", async () => {
    const options = { timeouts: { connectMs: 500 } };
    await withParent({ options }, async ({ source, parent, downloader }) => {
      const request = source.add(0, { length: LENGTH });
      const download = await downloader.downloadPiece(parent.address, request);
      let closing: Promise<void> | undefined;
      const reading = readPiece(download, () => {
        closing ??= parent.close();
      });
      expect(await codeOf(reading)).toBe("ERR_PIECE_TRUNCATED");
      await closing;
    });
  });
});

async function withParent(
  setUp: Parameters<typeof openBreakingParent>[1] & { readonly options?: QuicDownloaderOptions },
  test: (fixture: {
    readonly source: SyntheticSource;
    readonly parent: BreakingParent;
    readonly downloader: QuicDownloader;
    readonly download: (request: PieceRequest) => Promise<number>;
  }) => Promise<void>,
): Promise<void> {
  const { options, ...parentOptions } = setUp;
  const source = new SyntheticSource();
  const parent = await openBreakingParent(source, parentOptions);
  const downloader = createQuicDownloader({ timeouts: { connectMs: 20_000 }, ...options });
  const download = async (request: PieceRequest): Promise<number> => {
    const downloading = await downloader.downloadPiece(parent.address, request);
    return readPiece(downloading, undefined, request.range?.offset);
  };
  try {
    await test({ source, parent, downloader, download });
    await source.untilFree();
  } finally {
    await downloader[Symbol.asyncDispose]();
    await parent.close();
  }
}
