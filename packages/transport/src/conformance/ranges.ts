import { expect, it } from "vitest";
import type { ByteRange } from "../byte-range.ts";
import { type OpenFixture, withFixture } from "./fixture.ts";
import { codeOf, failureOf, readPiece } from "./read-piece.ts";

const LENGTH = 3_000_001;

export function testRanges(open: OpenFixture): void {
  it.each<[string, ByteRange, number]>([
    ["its first byte", { offset: 0, length: 1 }, 1],
    ["its last byte", { offset: LENGTH - 1, length: 1 }, 1],
    ["some in the middle", { offset: 1_000_003, length: 999_999 }, 999_999],
    ["all but the first", { offset: 1, length: LENGTH - 1 }, LENGTH - 1],
    ["all of it", { offset: 0, length: LENGTH }, LENGTH],
    ["more than there are", { offset: 2_000_000, length: 2 ** 52 }, LENGTH - 2_000_000],
    ["none, from the very end on", { offset: LENGTH, length: 5 }, 0],
  ])("delivers the bytes asked for: %s", async (_, range, length) => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = { ...source.add(0, { length: LENGTH, offset: 7 }), range };
      const download = await downloader.downloadPiece(parent, request);
      expect(download.piece).toEqual(source.info(0));
      expect(await readPiece(download, undefined, range.offset)).toBe(length);
    });
  });

  it("rejects with ERR_PIECE_NOT_FOUND for a range beyond the end of the piece", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const range = { offset: LENGTH + 1, length: 1 };
      const request = { ...source.add(0, { length: LENGTH }), range };
      expect(await codeOf(downloader.downloadPiece(parent, request))).toBe("ERR_PIECE_NOT_FOUND");
    });
  });

  it.each<ByteRange>([
    { offset: 0, length: 0 },
    { offset: -1, length: 1 },
    { offset: 0.5, length: 1 },
    { offset: 0, length: 2 ** 53 },
  ])("throws a RangeError for $length bytes at $offset, and asks nobody", async (range) => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = { ...source.add(0, { length: LENGTH }), range };
      expect(await failureOf(downloader.downloadPiece(parent, request))).toBeInstanceOf(RangeError);
      expect(source.requestCount).toBe(0);
    });
  });

  it("never ends well when the content of a range is shorter than announced", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const piece = source.add(0, { length: 300_000, contentLength: 200_000 });
      const request = { ...piece, range: { offset: 150_000, length: 100_000 } };
      await failureOf(
        downloader
          .downloadPiece(parent, request)
          .then((download) => readPiece(download, undefined, 150_000)),
      );
    });
  });

  it("lets a piece be put together from two downloads", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: LENGTH });
      const begun = await downloader.downloadPiece(parent, request);
      let received = 0;
      for await (const chunk of begun.content) {
        received += chunk.byteLength;
        if (received > 500_000) break;
      }
      const range = { offset: received, length: LENGTH - received };
      const rest = await downloader.downloadPiece(parent, { ...request, range });
      expect(received + (await readPiece(rest, undefined, received))).toBe(LENGTH);
    });
  });
}
