import { once } from "node:events";
import type { ParentAddress } from "@damselfly/transport";
import {
  codeOf,
  createGate,
  fillContent,
  readPiece,
  TASK_ID,
} from "@damselfly/transport/conformance";
import { encodePacket, ErrorCode, Tag } from "@damselfly/vortex";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import {
  createTcpDownloader,
  type TcpDownloader,
  type TcpDownloaderOptions,
} from "./tcp-downloader.ts";
import type { RawConnection } from "./testing/raw-connection.ts";
import {
  announcement,
  openRawParent,
  RANGE_REQUEST_LENGTH,
  type RawParent,
  REQUEST_LENGTH,
} from "./testing/raw-parent.ts";

const LENGTH = 300_001;
const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function contentOf(pieceNumber: number, length = LENGTH): Buffer {
  const bytes = Buffer.alloc(length);
  fillContent(bytes, pieceNumber, 0);
  return bytes;
}

function reply(pieceNumber: number, length = LENGTH): Buffer {
  return Buffer.concat([announcement(pieceNumber, length), contentOf(pieceNumber, length)]);
}

async function open(
  serve: (connection: RawConnection, index: number) => Promise<void>,
  options: TcpDownloaderOptions = {},
): Promise<{
  readonly parent: RawParent;
  readonly downloader: TcpDownloader;
  readonly download: (pieceNumber: number) => Promise<number>;
}> {
  const parent = await openRawParent(serve);
  const downloader = createTcpDownloader(options);
  opened.push(parent, downloader);
  const download = async (pieceNumber: number): Promise<number> =>
    readPiece(await downloader.downloadPiece(parent.address, { taskId: TASK_ID, pieceNumber }));
  return { parent, downloader, download };
}

/** As 1.5.10: answers one request after another. */
async function serveAll(connection: RawConnection): Promise<void> {
  for (;;) {
    const request = await connection.read(REQUEST_LENGTH);
    connection.write(reply(request.readUInt32BE(70)));
  }
}

/** As 1.5.1: one answer, and the end. */
async function serveOne(connection: RawConnection): Promise<void> {
  const request = await connection.read(REQUEST_LENGTH);
  connection.socket.end(reply(request.readUInt32BE(70)));
}

describe("a parent of Dragonfly 1.5.10", () => {
  it("is asked in its own words, one thing after the other on one connection", async () => {
    const requests: string[] = [];
    const { parent, download, downloader } = await open(async (connection) => {
      for (;;) {
        const request = await connection.read(REQUEST_LENGTH);
        requests.push(request.subarray(1).toString("hex"));
        connection.write(reply(request.readUInt32BE(70)));
      }
    });
    for (const number of [3, 4, 5]) expect(await download(number)).toBe(LENGTH);
    const taskId = Buffer.from(TASK_ID).toString("hex");
    expect(requests).toEqual([3, 4, 5].map((number) => `0000000044${taskId}0000000${number}`));
    expect(parent.connections).toHaveLength(1);
    expect(parent.connections[0]!.hasEnded).toBe(false); // it is never half-closed
    expect(downloader.connectionCount).toBe(1);
  });

  it("is asked over as many connections as pieces run, and over the newest of them next", async () => {
    const held = createGate();
    const served: number[] = [];
    const { parent, download, downloader } = await open(async (connection, index) => {
      for (;;) {
        const request = await connection.read(REQUEST_LENGTH);
        served.push(index);
        if (served.length <= 2) await held.opened;
        connection.write(reply(request.readUInt32BE(70)));
      }
    });
    const both = [download(0), download(1)];
    await expect.poll(() => served.length).toBe(2);
    held.open();
    expect(await Promise.all(both)).toEqual([LENGTH, LENGTH]);
    expect(downloader.connectionCount).toBe(2);
    expect(await download(2)).toBe(LENGTH);
    expect(await download(3)).toBe(LENGTH);
    expect(parent.connections).toHaveLength(2);
    expect(served[3]).toBe(served[2]);
  });

  it("is asked anew, without a word, where an idle connection turns out to be dead", async () => {
    const { parent, download, downloader } = await open(async (connection, index) => {
      const request = await connection.read(REQUEST_LENGTH);
      connection.write(reply(request.readUInt32BE(70)));
      if (index > 0) return;
      await connection.read(REQUEST_LENGTH);
      connection.write(Buffer.alloc(5)); // not even a header
      connection.close();
    });
    expect(await download(0)).toBe(LENGTH);
    expect(await download(1)).toBe(LENGTH);
    expect(parent.connections).toHaveLength(2);
    expect(downloader.stats()).toMatchObject({
      connectionCount: 1,
      idleCount: 1,
      dialledCount: 2,
      resumedCount: 0,
      failedCount: 0,
      repeatedCount: 1,
    });
  });

  it("is asked anew where an idle connection says nothing, as after a restart of its host", async () => {
    const { parent, download } = await open(
      async (connection, index) => {
        const request = await connection.read(REQUEST_LENGTH);
        connection.write(reply(request.readUInt32BE(70)));
        if (index === 0) await once(connection.socket, "close");
      },
      { timeouts: { connectMs: 300 } },
    );
    expect(await download(0)).toBe(LENGTH);
    expect(await download(1)).toBe(LENGTH);
    expect(parent.connections).toHaveLength(2);
  });

  it("is not asked anew on its first connection, nor once it has begun to answer", async () => {
    let cutAt = 0;
    const { parent, download } = await open(async (connection) => {
      const first = await connection.read(REQUEST_LENGTH);
      if (cutAt > 0) {
        connection.write(reply(first.readUInt32BE(70)));
        await connection.read(REQUEST_LENGTH);
      }
      connection.socket.end(reply(1).subarray(0, cutAt));
    });
    expect(await codeOf(download(0))).toBe("ERR_PARENT_UNREACHABLE");
    expect(parent.connections).toHaveLength(1);
    cutAt = 6;
    expect(await download(0)).toBe(LENGTH);
    expect(await codeOf(download(1))).toBe("ERR_PARENT_UNREACHABLE");
    expect(parent.connections).toHaveLength(2);
    cutAt = 200;
    expect(await download(0)).toBe(LENGTH);
    expect(await codeOf(download(1))).toBe("ERR_PIECE_TRUNCATED");
    expect(parent.connections).toHaveLength(3);
  });

  it("keeps its connection after a refusal", async () => {
    const { parent, download } = await open(async (connection) => {
      const missing = await connection.read(REQUEST_LENGTH);
      const number = missing.readUInt32BE(70);
      const message = `piece ${TASK_ID}-${number} not found`;
      connection.write(
        encodePacket({ kind: "error", id: 1, tag: Tag.Error, code: ErrorCode.NotFound, message }),
      );
      await serveAll(connection);
    });
    expect(await codeOf(download(0))).toBe("ERR_PIECE_NOT_FOUND");
    expect(await download(1)).toBe(LENGTH);
    expect(parent.connections).toHaveLength(1);
  });

  it("is not asked again on a connection that brought a byte too many", async () => {
    const { parent, download } = await open(async (connection) => {
      const request = await connection.read(REQUEST_LENGTH);
      connection.write(Buffer.concat([reply(request.readUInt32BE(70)), Buffer.alloc(1)]));
      await connection.readAll();
    });
    expect(await download(0)).toBe(LENGTH);
    expect(await download(1)).toBe(LENGTH);
    expect(parent.connections).toHaveLength(2);
    await expect.poll(() => parent.connections[0]!.hasEnded).toBe(true);
  });

  it("is dropped by who leaves in the middle", async () => {
    const { parent, downloader } = await open(async (connection) => {
      await connection.read(REQUEST_LENGTH);
      connection.write(announcement(0, LENGTH));
    });
    const request = { taskId: TASK_ID, pieceNumber: 0 };
    const download = await downloader.downloadPiece(parent.address, request);
    await download[Symbol.asyncDispose]();
    await expect.poll(() => parent.connections[0]!.hasEnded).toBe(true);
    expect(downloader.connectionCount).toBe(0);
  });

  it.each([
    ["in the middle", { offset: 100_000, length: 50_000 }, 50_000],
    ["at the end", { offset: 200_000, length: 2 ** 40 }, LENGTH - 200_000],
    ["with nothing in it", { offset: LENGTH, length: 1 }, 0],
  ])(
    "is asked for the whole piece where a range is wanted, which is cut out: %s",
    async (_, range, length) => {
      const { parent, downloader } = await open(serveAll);
      const request = { taskId: TASK_ID, pieceNumber: 3, range };
      const download = await downloader.downloadPiece(parent.address, request);
      expect(download.piece.length).toBe(LENGTH);
      expect(await readPiece(download, undefined, range.offset)).toBe(length);
      const beyond = { ...request, range: { offset: LENGTH + 1, length: 1 } };
      const asking = downloader.downloadPiece(parent.address, beyond);
      expect(await codeOf(asking)).toBe("ERR_PIECE_NOT_FOUND");
      const whole = await downloader.downloadPiece(parent.address, {
        ...request,
        range: undefined,
      });
      expect(await readPiece(whole)).toBe(LENGTH);
    },
  );

  it("may cut and join its packets as it likes", async () => {
    let sizes: readonly number[] = [];
    const { download } = await open(async (connection) => {
      for (;;) {
        const request = await connection.read(REQUEST_LENGTH);
        const number = request.readUInt32BE(70);
        const bytes = reply(number, number * 50);
        for (let start = 0, turn = 0; start < bytes.byteLength; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          connection.write(bytes.subarray(start, start + size));
          start += size;
          await new Promise(setImmediate);
        }
      }
    });
    const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 });
    const property = fc.asyncProperty(fc.nat(100), cuts, async (number, cut) => {
      sizes = cut;
      expect(await download(number)).toBe(number * 50);
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

describe("a parent of Dragonfly 1.5.1", () => {
  it("is dialled for every piece, and never fails for having closed", async () => {
    const { parent, download, downloader } = await open(serveOne);
    for (let number = 0; number < 20; number++) expect(await download(number)).toBe(LENGTH);
    // The end of a connection may come after the next request on it, which is then asked anew.
    expect(parent.connections.length).toBeGreaterThanOrEqual(20);
    await expect.poll(() => downloader.connectionCount).toBe(0);
  });

  it("fails none of many pieces at once, though each connection that becomes free is about to close", async () => {
    const { download } = await open(serveOne);
    for (let round = 0; round < 3; round++) {
      const numbers = Array.from({ length: 64 }, (_, index) => index);
      const lengths = await Promise.all(numbers.map((number) => download(number)));
      expect(new Set(lengths)).toEqual(new Set([LENGTH]));
    }
  }, 60_000);

  it("is dialled again after a refusal", async () => {
    const { download } = await open(async (connection, index) => {
      if (index > 0) return serveOne(connection);
      await connection.read(REQUEST_LENGTH);
      connection.socket.end(Buffer.from("01ff000000020378", "hex"));
    });
    expect(await codeOf(download(0))).toBe("ERR_PARENT_FAILED");
    expect(await download(0)).toBe(LENGTH);
  });
});

describe("a parent that breaks the protocol", () => {
  const about = (field: object): Uint8Array =>
    encodePacket({
      kind: "content",
      id: 1,
      tag: Tag.PieceContent,
      pieceNumber: 0,
      offset: 0,
      length: 10,
      digest: "",
      parentId: "",
      trafficType: 1,
      costSeconds: 0,
      createdAtSeconds: 0,
      ...field,
    });
  it.each<[string, Uint8Array | string, string]>([
    ["noise", "99".repeat(200), "ERR_PROTOCOL"],
    ["nothing", "", "ERR_PARENT_UNREACHABLE"],
    ["half a header", "0001", "ERR_PARENT_UNREACHABLE"],
    ["half an announcement", announcement(0, 10).subarray(0, 30), "ERR_PARENT_UNREACHABLE"],
    ["another piece", about({ pieceNumber: 8 }), "ERR_PROTOCOL"],
    ["an answer to another tag", about({ tag: Tag.PersistentPieceContent }), "ERR_PROTOCOL"],
    ["a request", `2a0000000044${"61".repeat(64)}00000003`, "ERR_PROTOCOL"],
    ["a close", "7ffe00000000", "ERR_PROTOCOL"],
    ["a reserved tag", "090800000003616263", "ERR_PROTOCOL"],
    ["metadata of more than 64 KiB", "000100100000000ffffc", "ERR_PROTOCOL"],
    [
      "a digest beyond the metadata",
      `2b01000000310000002d${"00".repeat(20)}ffffffff${"00".repeat(21)}`,
      "ERR_PROTOCOL",
    ],
    ["an error without a code", "01ff00000000", "ERR_PROTOCOL"],
    ["an error that is no text", "01ff0000000303fffe", "ERR_PROTOCOL"],
    ["an error it does not explain", "01ff0000000100", "ERR_PARENT_FAILED"],
    ["an error of a kind that nobody knows", "01ff000000029978", "ERR_PARENT_FAILED"],
    ["an error about the request", "01ff000000020178", "ERR_PROTOCOL"],
    [
      "too little content",
      Buffer.concat([announcement(0, 10), contentOf(0, 9)]),
      "ERR_PIECE_TRUNCATED",
    ],
    ["less than it announces", about({ length: Number.MAX_SAFE_INTEGER }), "ERR_PIECE_TRUNCATED"],
    ["TLS", "160303000200", "ERR_PROTOCOL"],
  ])("is found out when it sends %s", async (_, bytes, code) => {
    const { download, downloader } = await open(async (connection) => {
      await connection.read(REQUEST_LENGTH);
      connection.socket.end(typeof bytes === "string" ? Buffer.from(bytes, "hex") : bytes);
    });
    expect(await codeOf(download(0))).toBe(code);
    await expect.poll(() => downloader.connectionCount).toBe(0);
  });

  it("never brings a child down, whatever its bytes", async () => {
    let bytes: Uint8Array = new Uint8Array();
    const { download } = await open(async (connection) => {
      await connection.read(REQUEST_LENGTH);
      connection.socket.end(bytes);
    });
    const noise = fc.uint8Array({ maxLength: 300 });
    const property = fc.asyncProperty(noise, fc.nat(120), async (random, cut) => {
      bytes = Buffer.concat([announcement(0, 10).subarray(0, cut), random]);
      const code = await codeOf(
        download(0).then((length) => Promise.reject(new Error(`${length}`))),
      );
      if (code instanceof Error) expect(code).toBeInstanceOf(Error); // the noise was a piece
      else expect(code).toMatch(/^ERR_P/);
    });
    await fc.assert(property, { numRuns: 100 });
  });

  it("says what it likes into nobody's log", async () => {
    const { parent, downloader } = await open(async (connection) => {
      await connection.read(REQUEST_LENGTH);
      const message = `\u001B[2J${"x".repeat(3000)}`;
      connection.write(
        encodePacket({ kind: "error", id: 1, tag: Tag.Error, code: ErrorCode.Internal, message }),
      );
    });
    const asking = downloader.downloadPiece(parent.address, { taskId: TASK_ID, pieceNumber: 0 });
    const message = await asking.catch((error: Error) => error.message);
    expect(message).toMatch(/^Cannot download piece 0 from 127.0.0.1-theirs: \?\[2Jx{508}$/);
  });
});

describe("a parent that does not answer", () => {
  it("is given up after the time for a connection, where TLS is wanted and nothing comes", async () => {
    const { createTestAuthority } = await import("@damselfly/rpc/testing");
    const tls = await (await createTestAuthority()).issue();
    const parent = await openRawParent(async (connection) => {
      await once(connection.socket, "close");
    });
    const downloader = createTcpDownloader({ tls, timeouts: { connectMs: 200 } });
    opened.push(parent, downloader);
    const { plain: _, ...ours } = parent.address;
    const ask = (address: ParentAddress): Promise<unknown> =>
      codeOf(downloader.downloadPiece(address, { taskId: TASK_ID, pieceNumber: 0 }));
    expect(await Promise.all([ask(ours), ask(ours)])).toEqual([
      "ERR_PARENT_UNREACHABLE",
      "ERR_PARENT_UNREACHABLE",
    ]);
    await expect.poll(() => downloader.connectionCount).toBe(0);
  });

  it("is not asked for a piece that is no longer wanted, though the connection is kept", async () => {
    const { parent, downloader, download } = await open(serveAll);
    const controller = new AbortController();
    const { signal } = controller;
    const request = { taskId: TASK_ID, pieceNumber: 0 };
    const asking = downloader.downloadPiece(parent.address, request, { signal });
    controller.abort(new Error("enough"));
    expect(await codeOf(asking)).toMatchObject({ message: "enough" });
    await expect.poll(() => downloader.connectionCount).toBe(1);
    expect(await download(1)).toBe(LENGTH);
    expect(parent.connections).toHaveLength(1);
  });
});

describe("our own parent, without certificates anywhere", () => {
  it("is asked with our own tag", async () => {
    const { parent, downloader } = await open(async (connection) => {
      const request = await connection.read(RANGE_REQUEST_LENGTH);
      expect(request[1]).toBe(Tag.DownloadPieceRange);
      connection.write(reply(0));
    });
    const { plain: _, ...ours } = parent.address;
    const request = { taskId: TASK_ID, pieceNumber: 0 };
    expect(await readPiece(await downloader.downloadPiece(ours, request))).toBe(LENGTH);
  });
});
