import { expect, it } from "vitest";
import { isIP } from "node:net";
import { TransportError } from "../errors.ts";
import type { Downloader, ParentAddress, PieceDownload, PieceRequest } from "../transport.ts";
import { type OpenFixture, withFixture } from "./fixture.ts";
import { createGate } from "./gate.ts";
import { codeOf, readPiece } from "./read-piece.ts";
import { sleep } from "./sleep.ts";
import { TASK_ID, type SyntheticSource } from "./synthetic-source.ts";

const MIB = 1024 * 1024;

/** The largest piece Dragonfly makes. */
const PIECE_LENGTH_MAX = 64 * MIB;

export function testCapacity(
  open: OpenFixture,
  options: { readonly aheadLengthMax: number },
): void {
  it("answers one request too many with ERR_PARENT_BUSY, and serves it when there is room", async () => {
    await withFixture(open, { limits: { requestCountMax: 2 } }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      const held = createGate();
      const pause = (): Promise<void> => held.opened;
      const first = source.add(0, { length: 100_000, pauseAt: 10_000, pause });
      const second = source.add(1, { length: 100_000, arrival: held.opened });
      const third = source.add(2, { length: 100_000 });

      const reading = downloader.downloadPiece(parent, first).then(readPiece);
      await source.until(() => source.openCount === 1, "the first piece is open");
      const waiting = downloader.downloadPiece(parent, second).then(readPiece);
      await source.until(() => source.openingCount === 1, "the second piece is asked for");
      expect(await codeOf(downloader.downloadPiece(parent, third))).toBe("ERR_PARENT_BUSY");
      expect(source.requestCount).toBe(2);

      held.open();
      expect(await Promise.all([reading, waiting])).toEqual([100_000, 100_000]);
      expect(await readPiece(await downloadWhenFree(downloader, parent, third))).toBe(100_000);
    });
  });

  it("answers requests far beyond its limit as busy, each of them, and goes on serving", async () => {
    await withFixture(open, { limits: { requestCountMax: 1 } }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      const held = createGate();
      const first = source.add(0, { length: 1000, arrival: held.opened });
      const other = source.add(1, { length: 1000 });
      const reading = downloader.downloadPiece(parent, first).then(readPiece);
      await source.until(() => source.openingCount === 1, "the first piece is asked for");
      const refused = await Promise.all(
        Array.from({ length: 200 }, () => codeOf(downloader.downloadPiece(parent, other))),
      );
      expect(new Set(refused)).toEqual(new Set(["ERR_PARENT_BUSY"]));
      expect(source.requestCount).toBe(1);
      held.open();
      expect(await reading).toBe(1000);
      expect(await readPiece(await downloadWhenFree(downloader, parent, other))).toBe(1000);
    });
  });

  it("gives the room of a request back however the request ended", async () => {
    await withFixture(open, { limits: { requestCountMax: 1 } }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      const download = (request: PieceRequest): Promise<PieceDownload> =>
        downloadWhenFree(downloader, parent, request);

      const missing = { taskId: TASK_ID, pieceNumber: 99 };
      expect(await codeOf(download(missing))).toBe("ERR_PIECE_NOT_FOUND");
      const refused = source.add(0, { length: 1, refusal: new Error("EIO") });
      expect(await codeOf(download(refused))).toBe("ERR_PARENT_FAILED");
      const broken = await download(source.add(1, { length: 100_000, failAt: 50_000 }));
      await codeOf(readPiece(broken));
      const left = await download(source.add(2, { length: 8 * MIB }));
      await left[Symbol.asyncDispose]();
      const controller = new AbortController();
      const { signal } = controller;
      await source.untilFree();
      const aborted = await downloadWhenFree(
        downloader,
        parent,
        source.add(3, { length: MIB }),
        signal,
      );
      controller.abort(new Error("enough"));
      await codeOf(readPiece(aborted));

      expect(await readPiece(await download(source.add(4, { length: 1000 })))).toBe(1000);
    });
  });

  it("refuses one connection too many, where a child can open one", async (test) => {
    await withFixture(open, { limits: { connectionCountMax: 1 } }, async (fixture, source) => {
      test.skip(fixture.openDownloader === undefined, "there is no second child");
      const other = (await fixture.openDownloader?.()) ?? fixture.downloader;
      // In use until it is let go: a system may take all of a piece at once, and then the connection is idle.
      const held = createGate();
      const pause = (): Promise<void> => held.opened;
      const request = source.add(0, { length: 4 * MIB, pauseAt: 100_000, pause });
      const kept = await fixture.downloader.downloadPiece(fixture.parent, request);
      const refused = codeOf(other.downloadPiece(fixture.parent, request));
      expect(["ERR_PARENT_BUSY", "ERR_PARENT_UNREACHABLE"]).toContain(await refused);
      held.open();
      expect(await readPiece(kept)).toBe(4 * MIB);
    });
  });

  it("reads a large piece no further ahead than it must while nobody takes it", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: PIECE_LENGTH_MAX, chunkLength: 262_144 });
      const download = await downloader.downloadPiece(parent, request);
      await untilQuiet(source);
      expect(source.pulledLength).toBeLessThanOrEqual(options.aheadLengthMax);

      let ahead = 0;
      const received = await readPiece(download, (taken) => {
        ahead = Math.max(ahead, source.pulledLength - taken);
      });
      expect(received).toBe(PIECE_LENGTH_MAX);
      expect(ahead).toBeLessThanOrEqual(options.aheadLengthMax);
    });
  });

  it("holds no more for many pieces that nobody takes than for as many times one", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const downloads: PieceDownload[] = [];
      for (let pieceNumber = 0; pieceNumber < 6; pieceNumber += 1) {
        const request = source.add(pieceNumber, { length: PIECE_LENGTH_MAX, chunkLength: 262_144 });
        downloads.push(await downloader.downloadPiece(parent, request));
      }
      await untilQuiet(source);
      expect(source.pulledLength).toBeLessThanOrEqual(6 * options.aheadLengthMax);
      for (const download of downloads) await download[Symbol.asyncDispose]();
    });
  });

  it("gives the room of a child that takes nothing for long to others", async () => {
    const limits = { requestCountMax: 1, stallMs: 1_000 };
    await withFixture(open, { limits }, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: PIECE_LENGTH_MAX, chunkLength: 262_144 });
      const download = await downloader.downloadPiece(parent, request);
      await source.until(() => source.openCount === 1, "the piece is open");
      // Cut off, or sent all of what it had asked for at once.
      await source.until(() => source.openCount === 0, "nothing more is read for it");
      const other = source.add(1, { length: 1000 });
      expect(await readPiece(await downloadWhenFree(downloader, parent, other))).toBe(1000);
      await download[Symbol.asyncDispose]();
    });
  });

  it("cuts off a child that takes nothing when the source wants its memory back", async () => {
    const limits = { requestCountMax: 1 };
    await withFixture(open, { limits }, async ({ downloader, parent }, source) => {
      const controller = new AbortController();
      const { signal: reclaimed } = controller;
      const large = { length: PIECE_LENGTH_MAX, chunkLength: 262_144, reclaimed };
      const download = await downloader.downloadPiece(parent, source.add(0, large));
      await untilQuiet(source);
      controller.abort(new TransportError("ERR_PARENT_STALLED", "Too little is taken"));
      await source.untilFree();
      const other = source.add(1, { length: 1000 });
      expect(await readPiece(await downloadWhenFree(downloader, parent, other))).toBe(1000);
      await download[Symbol.asyncDispose]();
    });
  });

  it("tells the source whom a piece is for, where children have addresses", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: 1000 });
      await readPiece(await downloader.downloadPiece(parent, request));
      for (const ip of source.childIps) expect(isIP(ip)).toBeGreaterThan(0);
    });
  });

  it("lets a child be as slow as it likes, as long as it takes something", async () => {
    await withFixture(open, { limits: { stallMs: 2_000 } }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      const length = 48 * MIB;
      const request = source.add(0, { length, chunkLength: 262_144 });
      const download = await downloader.downloadPiece(parent, request);
      let received = 0;
      let pausedAt = 0;
      for await (const chunk of download.content) {
        received += chunk.byteLength;
        if (received - pausedAt < MIB) continue;
        pausedAt = received;
        await sleep(60); // longer than the limit in all
      }
      expect(received).toBe(length);
    });
  });

  it("lets a piece pass another one that nobody reads", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const unread = source.add(0, { length: PIECE_LENGTH_MAX });
      const download = await downloader.downloadPiece(parent, unread);
      await untilQuiet(source);
      const request = source.add(1, { length: 4 * MIB });
      expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(4 * MIB);
      await download[Symbol.asyncDispose]();
    });
  });

  it("carries a thousand pieces at once", async () => {
    const limits = { requestsPerAddressMax: 1024 };
    await withFixture(open, { limits }, async ({ downloader, parent }, source) => {
      const reading = Array.from({ length: 1000 }, async (_, pieceNumber) => {
        const request = source.add(pieceNumber, { length: 10_000 + pieceNumber });
        const download = await downloader.downloadPiece(parent, request);
        return readPiece(download);
      });
      const lengths = await Promise.all(reading);
      expect(lengths).toEqual(lengths.map((_, pieceNumber) => 10_000 + pieceNumber));
    });
  });
}

/** Downloads as soon as the parent has room: it may learn of an ended request a moment after the child. */
async function downloadWhenFree(
  downloader: Downloader,
  parent: ParentAddress,
  request: PieceRequest,
  signal?: AbortSignal,
): Promise<PieceDownload> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await downloader.downloadPiece(
        parent,
        request,
        signal === undefined ? {} : { signal },
      );
    } catch (error) {
      const busy = error instanceof Error && "code" in error && error.code === "ERR_PARENT_BUSY";
      if (!busy || attempt === 200) throw error;
      await sleep(10);
    }
  }
}

/** Waits until the parent has read nothing for a while, because it is held back or has read everything. */
async function untilQuiet(source: SyntheticSource): Promise<void> {
  for (let before = -1; before !== source.pulledLength;) {
    before = source.pulledLength;
    await sleep(200);
  }
}
