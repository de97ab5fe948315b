import { expect, it } from "vitest";
import type { TransportErrorCode } from "../errors.ts";
import { type OpenFixture, withFixture } from "./fixture.ts";
import { createGate } from "./gate.ts";
import { codeOf, readPiece } from "./read-piece.ts";
import { sleep } from "./sleep.ts";

/** Short enough for a test, long enough for a busy machine. */
const TIMEOUTS = { connectMs: 1_000, announceMs: 2_000, stallMs: 2_000 } as const;

/** How the death of a parent shows: a broken connection, or silence where the network cannot tell. */
const GONE: readonly TransportErrorCode[] = [
  "ERR_PARENT_UNREACHABLE",
  "ERR_PARENT_FAILED",
  "ERR_PIECE_TRUNCATED",
  "ERR_PARENT_STALLED",
];

export function testParentFailure(open: OpenFixture): void {
  it("rejects with ERR_PARENT_UNREACHABLE when nobody listens", async () => {
    await withFixture(open, { timeouts: TIMEOUTS, parentDies: true }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      const request = source.add(0, { length: 1 });
      await fixture.killParent();
      const downloading = downloader.downloadPiece(parent, request);
      expect(await codeOf(downloading)).toBe("ERR_PARENT_UNREACHABLE");
    });
  });

  it("rejects with ERR_PARENT_UNREACHABLE when the parent does not offer the protocol", async () => {
    await withFixture(open, {}, async ({ downloader, parent: { hostId, ip } }, source) => {
      const request = source.add(0, { length: 1 });
      const downloading = downloader.downloadPiece({ hostId, ip, ports: {} }, request);
      expect(await codeOf(downloading)).toBe("ERR_PARENT_UNREACHABLE");
    });
  });

  it("ends the content when the parent dies inside it", async () => {
    await withFixture(open, { timeouts: TIMEOUTS, parentDies: true }, async (fixture, source) => {
      const stuck = createGate();
      const pause = (): Promise<void> => stuck.opened;
      const request = source.add(0, { length: 1_000_000, pauseAt: 500_000, pause });
      const download = await fixture.downloader.downloadPiece(fixture.parent, request);
      let killed: Promise<void> | undefined;
      const reading = readPiece(download, (received) => {
        if (received >= 400_000) killed ??= fixture.killParent();
      });
      expect(GONE).toContain(await codeOf(reading));
      await killed;
    });
  });

  it("rejects when the parent dies before the announcement", async () => {
    await withFixture(open, { timeouts: TIMEOUTS, parentDies: true }, async (fixture, source) => {
      const arrival = createGate();
      const request = source.add(0, { length: 1, arrival: arrival.opened });
      const failed = codeOf(fixture.downloader.downloadPiece(fixture.parent, request));
      await source.until(() => source.openingCount === 1, "the parent is asked");
      await fixture.killParent();
      expect(GONE).toContain(await failed);
    });
  });

  it("notices on the next request that the parent has died since the last", async () => {
    await withFixture(open, { timeouts: TIMEOUTS, parentDies: true }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      const request = source.add(0, { length: 1000 });
      expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(1000);
      await fixture.killParent();
      expect(GONE).toContain(await codeOf(downloader.downloadPiece(parent, request)));
    });
  });

  it("throws ERR_PARENT_STALLED when the content stops arriving", async () => {
    await withFixture(open, { timeouts: { stallMs: 300 } }, async (fixture, source) => {
      const stuck = createGate();
      const pause = (): Promise<void> => stuck.opened;
      const request = source.add(0, { length: 1_000_000, pauseAt: 500_000, pause });
      const download = await fixture.downloader.downloadPiece(fixture.parent, request);
      expect(await codeOf(readPiece(download))).toBe("ERR_PARENT_STALLED");
      await source.untilFree();
    });
  });

  it("rejects with ERR_PARENT_STALLED when the announcement does not come in time", async () => {
    await withFixture(open, { timeouts: { announceMs: 300 } }, async (fixture, source) => {
      const arrival = createGate();
      const request = source.add(0, { length: 1, arrival: arrival.opened });
      const downloading = fixture.downloader.downloadPiece(fixture.parent, request);
      expect(await codeOf(downloading)).toBe("ERR_PARENT_STALLED");
      await source.untilFree();
    });
  });

  it("does not take a slow parent for a stalled one", async () => {
    await withFixture(open, { timeouts: { stallMs: 1_000 } }, async (fixture, source) => {
      const request = source.add(0, {
        length: 100_000,
        chunkLength: 10_000,
        pauseAt: 0,
        pause: shortly,
      });
      const download = await fixture.downloader.downloadPiece(fixture.parent, request);
      expect(await readPiece(download)).toBe(100_000);
    });
  });

  it("does not take a slow consumer for a stalled parent", async () => {
    await withFixture(open, { timeouts: { stallMs: 300 } }, async (fixture, source) => {
      const request = source.add(0, { length: 4 * 1024 * 1024 });
      const download = await fixture.downloader.downloadPiece(fixture.parent, request);
      let pausing: Promise<void> | undefined;
      const reading = readPiece(download, () => (pausing ??= sleep(900)));
      expect(await reading).toBe(4 * 1024 * 1024);
    });
  });
}

async function shortly(): Promise<void> {
  await sleep(150);
}
