import { expect, it } from "vitest";
import { type OpenFixture, withFixture } from "./fixture.ts";
import { createGate } from "./gate.ts";
import { codeOf, failureOf, readPiece } from "./read-piece.ts";

const LENGTH = 8 * 1024 * 1024;

export function testCancellation(open: OpenFixture): void {
  it("frees the parent's reader when the consumer leaves the loop", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const stuck = createGate();
      const pause = (): Promise<void> => stuck.opened;
      const request = source.add(0, { length: LENGTH, pauseAt: LENGTH / 2, pause });
      const download = await downloader.downloadPiece(parent, request);
      for await (const chunk of download.content) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        break;
      }
      await source.untilFree();
      await download[Symbol.asyncDispose]();
    });
  });

  it("frees the parent's reader when a piece is disposed unread, and again", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: LENGTH });
      const download = await downloader.downloadPiece(parent, request);
      await download[Symbol.asyncDispose]();
      await download[Symbol.asyncDispose]();
      await source.untilFree();
    });
  });

  it("does not pass off a disposed piece as an empty one", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const download = await downloader.downloadPiece(parent, source.add(0, { length: LENGTH }));
      await download[Symbol.asyncDispose]();
      await failureOf(readPiece(download));
    });
  });

  it("frees the parent's reader when the consumer throws", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const download = await downloader.downloadPiece(parent, source.add(0, { length: LENGTH }));
      const reason = new Error("no space left on device");
      const reading = readPiece(download, () => {
        throw reason;
      });
      expect(await failureOf(reading)).toBe(reason);
      await source.untilFree();
    });
  });

  it("rejects with the reason of a signal that has aborted before, and asks nobody", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: 1 });
      const reason = new Error("too late");
      const signal = AbortSignal.abort(reason);
      expect(await failureOf(downloader.downloadPiece(parent, request, { signal }))).toBe(reason);
      expect(source.requestCount).toBe(0);
    });
  });

  it("rejects with the reason of a signal that aborts before the announcement", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const arrival = createGate();
      const request = source.add(0, { length: 1, arrival: arrival.opened });
      const controller = new AbortController();
      const { signal } = controller;
      const downloading = downloader.downloadPiece(parent, request, { signal });
      const failed = failureOf(downloading);
      await source.until(() => source.openingCount === 1, "the parent is asked");
      const reason = new Error("user pressed ctrl-c");
      controller.abort(reason);
      expect(await failed).toBe(reason);
      await source.until(() => source.openingCount === 0, "the parent stops waiting");
    });
  });

  it("throws the reason of a signal that aborts between two chunks", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const controller = new AbortController();
      const { signal } = controller;
      const request = source.add(0, { length: LENGTH });
      const download = await downloader.downloadPiece(parent, request, { signal });
      const reason = new Error("user pressed ctrl-c");
      const reading = readPiece(download, () => controller.abort(reason));
      expect(await failureOf(reading)).toBe(reason);
      await source.untilFree();
    });
  });

  it("throws the reason of a signal that aborts while the content is awaited", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const stuck = createGate();
      const pause = (): Promise<void> => stuck.opened;
      const request = source.add(0, { length: 100_000, pauseAt: 50_000, pause });
      const controller = new AbortController();
      const { signal } = controller;
      const download = await downloader.downloadPiece(parent, request, { signal });
      const reason = new Error("user pressed ctrl-c");
      const reading = readPiece(download, (received) => {
        if (received === 50_000) setImmediate(() => controller.abort(reason));
      });
      expect(await failureOf(reading)).toBe(reason);
      await source.untilFree();
    });
  });

  it("frees the parent's reader when the signal aborts and nobody reads", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const controller = new AbortController();
      const { signal } = controller;
      const request = source.add(0, { length: LENGTH });
      const download = await downloader.downloadPiece(parent, request, { signal });
      const reason = new Error("user pressed ctrl-c");
      controller.abort(reason);
      await source.untilFree();
      expect(await failureOf(readPiece(download))).toBe(reason);
    });
  });

  it("does not mind a signal that aborts after the last byte", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const controller = new AbortController();
      const { signal } = controller;
      const request = source.add(0, { length: 1000 });
      const download = await downloader.downloadPiece(parent, request, { signal });
      expect(await readPiece(download)).toBe(1000);
      controller.abort(new Error("too late"));
      const again = await downloader.downloadPiece(parent, request);
      expect(await readPiece(again)).toBe(1000);
    });
  });

  it("leaves the other pieces alone when one is cancelled", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const kept = await downloader.downloadPiece(parent, source.add(0, { length: LENGTH }));
      const left = await downloader.downloadPiece(parent, source.add(1, { length: LENGTH }));
      const lost = await downloader.downloadPiece(parent, source.add(2, { length: LENGTH }));
      await left[Symbol.asyncDispose]();
      const reading = readPiece(kept);
      await lost[Symbol.asyncDispose]();
      expect(await reading).toBe(LENGTH);
    });
  });

  it("rejects with ERR_CLOSED once the downloader is disposed, and ends what it had begun", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: LENGTH });
      const download = await downloader.downloadPiece(parent, request);
      const arrival = createGate();
      const arriving = source.add(1, { length: 1, arrival: arrival.opened });
      const failed = failureOf(downloader.downloadPiece(parent, arriving));
      await source.until(() => source.openingCount === 1, "the parent is asked");

      await downloader[Symbol.asyncDispose]();
      await downloader[Symbol.asyncDispose]();
      await failed;
      await failureOf(readPiece(download));
      await source.untilFree();
      expect(await codeOf(downloader.downloadPiece(parent, request))).toBe("ERR_CLOSED");
    });
  });
}
