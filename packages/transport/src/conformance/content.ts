import { expect, it } from "vitest";
import { TransportError, type TransportErrorCode } from "../errors.ts";
import { type OpenFixture, withFixture } from "./fixture.ts";
import { createGate } from "./gate.ts";
import { codeOf, readPiece } from "./read-piece.ts";
import { TASK_ID } from "./synthetic-source.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const INTERESTING_LENGTHS: readonly number[] = [
  0, // nothing to wait for, nothing to frame
  1,
  ...around(16 * KIB), // a TLS record and an HTTP/2 frame
  ...around(64 * KIB), // a chunk here
  ...around(256 * KIB), // a usual read of a file
  ...around(4 * MIB), // Dragonfly's smallest piece, and gRPC's default message limit
];

export function testContent(open: OpenFixture): void {
  it.each(INTERESTING_LENGTHS)("delivers a piece of %i bytes exactly", async (length) => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(3, { length, offset: 3 * length });
      const download = await downloader.downloadPiece(parent, request);
      expect(download.piece).toEqual(source.info(3));
      expect(await readPiece(download)).toBe(length);
      expect(source.requestCount).toBe(1);
    });
  });

  it.each([
    { chunkLength: 1, length: 3000 },
    { chunkLength: 4099, length: 1_000_003 },
    { chunkLength: 9 * MIB, length: 9 * MIB },
  ])("delivers a piece read in chunks of $chunkLength bytes", async ({ chunkLength, length }) => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length, chunkLength });
      const download = await downloader.downloadPiece(parent, request);
      expect(await readPiece(download)).toBe(length);
    });
  });

  it("announces number, offset and digest as the parent has them", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const digest = `sha256:${"ab".repeat(32)}`;
      const request = source.add(4_000_000_000, { length: 7, offset: 2 ** 52 + 1, digest });
      const download = await downloader.downloadPiece(parent, request);
      expect(download.piece).toEqual({
        number: 4_000_000_000,
        offset: 2 ** 52 + 1,
        length: 7,
        digest,
      });
      expect(await readPiece(download)).toBe(7);
    });
  });

  it("announces a strong digest, where the parent has one, for the piece and for a range of it", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const strongDigest = `sha256:${"0123456789abcdef".repeat(4)}`;
      const request = source.add(5, { length: 7, strongDigest });
      for (const range of [undefined, { offset: 2, length: 5 }]) {
        const download = await downloader.downloadPiece(parent, {
          ...request,
          ...(range && { range }),
        });
        expect(download.piece).toEqual({
          number: 5,
          offset: 0,
          length: 7,
          digest: "crc32:5",
          strongDigest,
        });
        await download[Symbol.asyncDispose]();
      }
    });
  });

  it("waits for a piece that is still arriving at the parent", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const arrival = createGate();
      const request = source.add(0, { length: 100_000, arrival: arrival.opened });
      const downloading = downloader.downloadPiece(parent, request);
      await source.until(() => source.openingCount === 1, "the parent is asked");
      arrival.open();
      expect(await readPiece(await downloading)).toBe(100_000);
    });
  });

  it("rejects with ERR_PIECE_NOT_FOUND for a piece or a task that the parent lacks", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      source.add(0, { length: 1 });
      const missing = { taskId: TASK_ID, pieceNumber: 9 };
      expect(await codeOf(downloader.downloadPiece(parent, missing))).toBe("ERR_PIECE_NOT_FOUND");
      const unknown = { taskId: "f".repeat(64), pieceNumber: 0 };
      expect(await codeOf(downloader.downloadPiece(parent, unknown))).toBe("ERR_PIECE_NOT_FOUND");
    });
  });

  it.each<[string, Error, TransportErrorCode]>([
    [
      "no such piece",
      new TransportError("ERR_PIECE_NOT_FOUND", "No such piece"),
      "ERR_PIECE_NOT_FOUND",
    ],
    ["a busy disk", new TransportError("ERR_PARENT_BUSY", "Too many readers"), "ERR_PARENT_BUSY"],
    ["a damaged piece", new TransportError("ERR_PARENT_FAILED", "Bad digest"), "ERR_PARENT_FAILED"],
    ["any other error", new Error("EIO: i/o error"), "ERR_PARENT_FAILED"],
  ])("tells the child about %s", async (_, refusal, code) => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: 10, refusal });
      expect(await codeOf(downloader.downloadPiece(parent, request))).toBe(code);
    });
  });

  it("never ends well when the content is shorter than announced", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: 300_000, contentLength: 200_000 });
      const download = await downloader.downloadPiece(parent, request);
      expect(BROKEN_CONTENT).toContain(await codeOf(readPiece(download)));
    });
  });

  it("never ends well when the content is missing altogether", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: 1, contentLength: 0 });
      const work = downloader.downloadPiece(parent, request).then(readPiece);
      expect(BROKEN_CONTENT).toContain(await codeOf(work));
    });
  });

  it("never ends well when the content is longer than announced", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, {
        length: 200_000,
        contentLength: 200_001,
        chunkLength: 70_000,
      });
      const download = await downloader.downloadPiece(parent, request);
      expect(BROKEN_CONTENT).toContain(await codeOf(readPiece(download)));
    });
  });

  it("never ends well when the parent fails inside the content", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const request = source.add(0, { length: 1_000_000, failAt: 500_000 });
      const download = await downloader.downloadPiece(parent, request);
      expect(BROKEN_CONTENT).toContain(await codeOf(readPiece(download)));
    });
  });

  it("never ends well when the parent finds the piece damaged at its last byte", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const failure = new TransportError("ERR_PARENT_FAILED", "Bad digest");
      const request = source.add(0, { length: 100_000, failAt: 99_999, failure });
      const download = await downloader.downloadPiece(parent, request);
      expect(BROKEN_CONTENT).toContain(await codeOf(readPiece(download)));
    });
  });

  it("serves the next piece after every kind of failure", async () => {
    await withFixture(open, {}, async ({ downloader, parent }, source) => {
      const broken = source.add(0, { length: 1_000_000, failAt: 500_000 });
      const refused = source.add(1, { length: 10, refusal: new Error("EIO") });
      const good = source.add(2, { length: 100_000 });
      await codeOf(downloader.downloadPiece(parent, broken).then(readPiece));
      await codeOf(downloader.downloadPiece(parent, refused));
      await codeOf(downloader.downloadPiece(parent, { taskId: TASK_ID, pieceNumber: 3 }));
      expect(await readPiece(await downloader.downloadPiece(parent, good))).toBe(100_000);
    });
  });
}

/** What content may throw when the parent breaks its word. */
const BROKEN_CONTENT: readonly TransportErrorCode[] = [
  "ERR_PARENT_FAILED",
  "ERR_PIECE_TRUNCATED",
  "ERR_PROTOCOL",
];

function around(length: number): number[] {
  return [length - 1, length, length + 1];
}
