import { copyFile, link, open, readFile, rename, truncate } from "node:fs/promises";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  collect,
  contentOf,
  createFixture,
  DRAFT,
  factsOf,
  fill,
  Gate,
  inChunks,
  overwrite,
  PIECE_LENGTH,
  pieceOf,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import type { PieceChange, Storage, StoredTask } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
let fixture: StorageFixture;
let storage: Storage;
let task: StoredTask;

beforeEach(async () => {
  fixture = await createFixture();
  storage = await fixture.open();
  task = await storage.createTask(factsOf(CONTENT));
});

afterEach(async () => {
  await fixture.remove();
});

describe("bounds", () => {
  it("gives the last piece what is left", () => {
    expect(task.pieceCount).toBe(4);
    expect(task.bounds(2)).toEqual({ offset: 2000, length: 1000 });
    expect(task.bounds(3)).toEqual({ offset: 3000, length: 17 });
  });

  it.each([-1, 4, 1.5, Number.NaN])("throws a RangeError for piece %d", (number) => {
    expect(() => task.bounds(number)).toThrow(RangeError);
  });
});

describe("writePiece", () => {
  // One byte, one less than a buffer, a buffer, one more, a piece less one, a piece, two and a bit.
  it.each([1, 255, 256, 257, PIECE_LENGTH - 1, PIECE_LENGTH, 2 * PIECE_LENGTH + 1])(
    "stores content of %d bytes as it is",
    async (length) => {
      const content = contentOf(length);
      const other = await storage.createTask(factsOf(content, { taskId: "1".repeat(64) }));
      await fill(other, content);
      expect(other.complete).toBe(true);
      expect(await collect(other.read())).toEqual(content);
    },
  );

  it("leaves the same file in whatever order the pieces arrive, and however they are cut", async () => {
    let run = 0;
    const order = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 });
    await fc.assert(
      fc.asyncProperty(order, fc.integer({ min: 1, max: 1200 }), async (numbers, chunkLength) => {
        const taskId = (run++).toString(16).padStart(64, "0");
        const other = await storage.createTask(factsOf(CONTENT, { taskId }));
        await Promise.all(
          numbers.map((number) =>
            other.writePiece(
              { ...DRAFT, number },
              inChunks(pieceOf(other, number, CONTENT), chunkLength),
            ),
          ),
        );
        expect(Uint8Array.from(await readFile(fixture.contentPath(taskId)))).toEqual(CONTENT);
        await storage.deleteTask(taskId);
      }),
      { numRuns: 30 },
    );
  });

  it("computes the CRC-32 of content whose digest nobody has named", async () => {
    const bytes = Buffer.from("test content");
    const other = await storage.createTask(factsOf(bytes, { taskId: "1".repeat(64) }));
    const record = await other.writePiece({ ...DRAFT, number: 0 }, inChunks(bytes));
    expect(record).toMatchObject({ digest: "crc32:1475635037", length: 12, offset: 0 });
  });

  it("records who it came from", async () => {
    const record = await task.writePiece(
      { number: 1, trafficType: "REMOTE_PEER", parentId: "10.0.0.1-node" },
      inChunks(pieceOf(task, 1, CONTENT)),
    );
    expect(record).toMatchObject({ trafficType: "REMOTE_PEER", parentId: "10.0.0.1-node" });
    expect(task.pieces.get(1)).toBe(record);
  });

  it("does not record a piece whose digest is another", async () => {
    const draft = { ...DRAFT, number: 0, digest: "crc32:1", parentId: "liar" };
    const writing = task.writePiece(draft, inChunks(pieceOf(task, 0, CONTENT)));
    await expect(writing).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
      message: expect.stringMatching(/piece 0 .* from liar.* is crc32:\d+, expected crc32:1$/),
    });
    expect(task.pieces.size).toBe(0);
    await writePieceOf(task, 0, CONTENT);
    expect(task.pieces.size).toBe(1);
  });

  it("checks with the algorithm that the digest names", async () => {
    const sha256 = `sha256:${"0".repeat(64)}`;
    const writing = task.writePiece(
      { ...DRAFT, number: 0, digest: sha256 },
      inChunks(pieceOf(task, 0, CONTENT)),
    );
    await expect(writing).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
  });

  it.each([
    ["too short", PIECE_LENGTH - 1, /content is 999 bytes, expected 1000$/],
    ["too long", PIECE_LENGTH + 1, /content is at least 1001 bytes, expected 1000$/],
  ])("names the lengths of content that is %s", async (_name, length, message) => {
    const source = watched(contentOf(length));
    await expect(task.writePiece({ ...DRAFT, number: 0 }, source.content)).rejects.toMatchObject({
      code: "ERR_PIECE_LENGTH",
      message: expect.stringMatching(message),
    });
    expect(source.state.closed).toBe(true);
    expect(task.pieces.size).toBe(0);
  });

  it("throws what the content throws", async () => {
    const reason = new Error("user pressed ctrl-c");
    const gate = new Gate();
    gate.open();
    const writing = task.writePiece(
      { ...DRAFT, number: 0 },
      gate.stream(new Uint8Array(9), reason),
    );
    await expect(writing).rejects.toBe(reason);
  });

  it("closes content that it refuses before reading it", async () => {
    let closed = false;
    const content: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new Error("was read")),
        return: () => {
          closed = true;
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    };
    const writing = task.writePiece({ ...DRAFT, number: 0, digest: "rot13:abc" }, content);
    await expect(writing).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
    expect(closed).toBe(true);
  });

  it("is done with a chunk before it asks for the next", async () => {
    const memory = new Uint8Array(100);
    async function* reusing(): AsyncGenerator<Uint8Array> {
      for (let start = 0; start < PIECE_LENGTH; start += 100) {
        memory.set(CONTENT.subarray(start, start + 100));
        yield await Promise.resolve(memory);
      }
    }
    await task.writePiece({ ...DRAFT, number: 0 }, reusing());
    expect(await collect(task.read({ offset: 0, length: PIECE_LENGTH }))).toEqual(
      CONTENT.subarray(0, PIECE_LENGTH),
    );
  });

  it("returns a piece that is there and leaves the content alone", async () => {
    const record = await writePieceOf(task, 0, CONTENT);
    async function* untouched(): AsyncGenerator<Uint8Array> {
      yield await Promise.reject(new Error("was read"));
    }
    expect(await task.writePiece({ ...DRAFT, number: 0 }, untouched())).toBe(record);
  });

  it("lets the second writer of a piece have the first one's", async () => {
    const gate = new Gate();
    const first = task.writePiece({ ...DRAFT, number: 0 }, gate.stream(pieceOf(task, 0, CONTENT)));
    const source = watched(pieceOf(task, 0, CONTENT));
    const second = task.writePiece({ ...DRAFT, number: 0 }, source.content);
    gate.open();
    expect(await second).toBe(await first);
    expect(source.state.opened).toBe(false);
  });

  it("lets the second writer take over when the first one fails", async () => {
    const gate = new Gate();
    const failure = new Error("parent died");
    const first = task.writePiece({ ...DRAFT, number: 0 }, gate.stream(new Uint8Array(9), failure));
    const second = writePieceOf(task, 0, CONTENT);
    gate.open();
    await expect(first).rejects.toBe(failure);
    expect(await second).toBe(task.pieces.get(0));
  });

  it("writes to no file that somebody else has a name for", async () => {
    await writePieceOf(task, 0, CONTENT);
    await link(fixture.contentPath(), fixture.path("theirs"));
    const before = await readFile(fixture.path("theirs"));
    await Promise.all([1, 2, 3].map((number) => writePieceOf(task, number, CONTENT)));
    expect(await readFile(fixture.path("theirs"))).toEqual(before);
    expect(await collect(task.read())).toEqual(CONTENT);
  });

  it.each([
    ["cut", async (path: string) => await truncate(path, PIECE_LENGTH / 2)],
    ["extended", async (path: string) => await truncate(path, 10 * PIECE_LENGTH)],
    [
      "replaced",
      async (path: string) => {
        await copyFile(path, `${path}.copy`);
        await rename(`${path}.copy`, path);
      },
    ],
  ])(
    "trusts no file that somebody else has %s while a piece was written to it",
    async (_, damage) => {
      await writePieceOf(task, 0, CONTENT);
      const gate = new Gate();
      const writing = task.writePiece(
        { ...DRAFT, number: 1 },
        gate.stream(pieceOf(task, 1, CONTENT)),
      );
      await writePieceOf(task, 2, CONTENT); // The other one is under way by then.
      await damage(fixture.contentPath());
      gate.open();
      await writing;
      await writePieceOf(task, 3, CONTENT);
      // Whatever is there is right; what is missing is written anew.
      for (let number = 0; number < task.pieceCount; number++) {
        if (!task.pieces.has(number)) continue;
        const piece = pieceOf(task, number, CONTENT);
        expect(await collect(task.read(task.bounds(number)))).toEqual(Uint8Array.from(piece));
      }
      await fill(task, CONTENT);
      await task.seal();
      await task.output(fixture.path("output"));
      expect((await readFile(fixture.path("output"))).equals(CONTENT)).toBe(true);
    },
  );

  it("tells listeners of each piece until they stop listening", async () => {
    const changes: PieceChange[] = [];
    const stop = task.onChange((change) => changes.push(change));
    task.onChange(() => {
      throw new Error("a listener of no account");
    });
    const piece = await writePieceOf(task, 2, CONTENT);
    stop();
    await writePieceOf(task, 0, CONTENT);
    expect(changes).toEqual([{ kind: "recorded", piece }]);
    expect(fixture.warnings).toContain("listener of pieces failed");
  });
});

describe("deny", () => {
  it("withdraws the pieces, tells listeners so, and they can be written anew", async () => {
    await fill(task, CONTENT);
    await task.seal();
    const changes: PieceChange[] = [];
    const stop = task.onChange((change) => changes.push(change));
    await task.deny([task.pieces.get(1)!, task.pieces.get(3)!]);
    stop();
    expect(changes).toEqual([
      { kind: "withdrawn", pieceNumber: 1, isDenied: true },
      { kind: "withdrawn", pieceNumber: 3, isDenied: true },
    ]);
    expect([...task.pieces.keys()]).toEqual([0, 2]);
    expect(task.sealed).toBe(false);
    await expect(storage.openPiece({ taskId: TASK_ID, pieceNumber: 1 })).rejects.toMatchObject({
      code: "ERR_PIECE_NOT_FOUND",
    });
    const other = CONTENT.map((byte) => byte ^ 1);
    const record = await task.writePiece(
      { ...DRAFT, number: 1 },
      inChunks(pieceOf(task, 1, other), 99),
    );
    expect(task.pieces.get(1)).toBe(record);
    expect(await collect(task.read(task.bounds(1)))).toEqual(
      Uint8Array.from(pieceOf(task, 1, other)),
    );
  });

  it("passes over what has been written anew since", async () => {
    const first = await writePieceOf(task, 1, CONTENT);
    await task.deny([first]);
    const second = await writePieceOf(task, 1, CONTENT);
    await task.deny([first]);
    expect(task.pieces.get(1)).toBe(second);
  });

  it("is remembered by the journal, and so is what is recorded in their place at once", async () => {
    await fill(task, CONTENT);
    const denying = task.deny([task.pieces.get(1)!, task.pieces.get(2)!]);
    await writePieceOf(task, 2, CONTENT);
    await denying;
    await fixture.reopen();
    const again = await fixture.storage.openTask(TASK_ID);
    expect(new Set(again?.pieces.keys())).toEqual(new Set([0, 2, 3]));
  });
});

describe("openPiece", () => {
  const request = { taskId: TASK_ID, pieceNumber: 0 };

  it("serves a recorded piece and counts it", async () => {
    const {
      trafficType: _t,
      parentId: _p,
      costMs: _c,
      createdAtMs: _a,
      ...info
    } = await writePieceOf(task, 0, CONTENT);
    const reader = await storage.openPiece(request);
    expect(reader.piece).toEqual(info);
    expect(task).toMatchObject({ uploadingCount: 1, uploadedCount: 0 });
    expect(await collect(reader.content)).toEqual(pieceOf(task, 0, CONTENT));
    expect(task).toMatchObject({ uploadingCount: 0, uploadedCount: 1 });
  });

  it("frees a reader that is left or disposed, once", async () => {
    await writePieceOf(task, 0, CONTENT);
    const left = await storage.openPiece(request);
    for await (const chunk of left.content) if (chunk.byteLength > 0) break;
    const unread = await storage.openPiece(request);
    await unread[Symbol.asyncDispose]();
    await unread[Symbol.asyncDispose]();
    await left[Symbol.asyncDispose]();
    expect(task).toMatchObject({ uploadingCount: 0, uploadedCount: 0 });
    await expect(collect(unread.content)).rejects.toMatchObject({ code: "ERR_CLOSED" });
  });

  it("gives its content once", async () => {
    await writePieceOf(task, 0, CONTENT);
    const reader = await storage.openPiece(request);
    await collect(reader.content);
    await expect(collect(reader.content)).rejects.toThrow(TypeError);
  });

  it("waits for a piece that is arriving", async () => {
    const gate = new Gate();
    const writing = task.writePiece(
      { ...DRAFT, number: 0 },
      gate.stream(pieceOf(task, 0, CONTENT)),
    );
    const opening = storage.openPiece(request, { signal: new AbortController().signal });
    gate.open();
    await writing;
    expect(await collect((await opening).content)).toEqual(pieceOf(task, 0, CONTENT));
  });

  it("stops waiting when the signal says so", async () => {
    const gate = new Gate();
    const writing = task.writePiece(
      { ...DRAFT, number: 0 },
      gate.stream(pieceOf(task, 0, CONTENT)),
    );
    const controller = new AbortController();
    const opening = storage.openPiece(request, { signal: controller.signal });
    const reason = new Error("child has left");
    controller.abort(reason);
    await expect(opening).rejects.toBe(reason);
    await expect(storage.openPiece(request, { signal: controller.signal })).rejects.toBe(reason);
    gate.open();
    await writing;
  });

  it.each([
    ["a piece that is not there", { taskId: TASK_ID, pieceNumber: 1 }],
    ["a piece that cannot be", { taskId: TASK_ID, pieceNumber: -1 }],
    ["another task", { taskId: "0".repeat(64), pieceNumber: 0 }],
    ["a task id that is a path", { taskId: "../../etc/passwd", pieceNumber: 0 }],
  ])("says ERR_PIECE_NOT_FOUND for %s", async (_name, missing) => {
    await expect(storage.openPiece(missing)).rejects.toMatchObject({
      name: "TransportError",
      code: "ERR_PIECE_NOT_FOUND",
    });
  });

  it("says ERR_PIECE_NOT_FOUND when the piece it waited for has failed", async () => {
    const gate = new Gate();
    const failing = task.writePiece({ ...DRAFT, number: 0 }, gate.stream(new Uint8Array(1)));
    const opening = storage.openPiece(request);
    gate.open();
    await expect(failing).rejects.toMatchObject({ code: "ERR_PIECE_LENGTH" });
    await expect(opening).rejects.toMatchObject({ code: "ERR_PIECE_NOT_FOUND" });
  });

  it("holds back the last chunk of a piece that has changed since it was opened", async () => {
    await fill(task, CONTENT);
    const reader = await storage.openPiece(request);
    await overwrite(fixture.contentPath(), 10);
    const changes: PieceChange[] = [];
    task.onChange((change) => changes.push(change));

    const { chunks, error } = await readUntilError(reader.content);
    expect(error).toMatchObject({ name: "TransportError", code: "ERR_PARENT_FAILED" });
    expect(Buffer.concat(chunks).byteLength).toBeLessThan(PIECE_LENGTH);
    expect(changes).toEqual([{ kind: "withdrawn", pieceNumber: 0, isDenied: false }]);
    expect([...task.pieces.keys()]).toEqual([1, 2, 3]);
    await expect(storage.openPiece(request)).rejects.toMatchObject({ code: "ERR_PIECE_NOT_FOUND" });
  });

  it("withdraws a piece that has rotted without a trace in stat, and no other", async () => {
    await writePieceOf(task, 0, CONTENT);
    // While another piece is being written the file changes by our own hand, so stat cannot tell.
    const gate = new Gate();
    const writing = task.writePiece(
      { ...DRAFT, number: 1 },
      gate.stream(pieceOf(task, 1, CONTENT)),
    );
    await overwrite(fixture.contentPath(), 999);
    gate.open();
    await writing;

    const reader = await storage.openPiece(request);
    await expect(collect(reader.content)).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
    expect([...task.pieces.keys()]).toEqual([1]);

    await fixture.reopen();
    expect([...((await fixture.storage.openTask(TASK_ID))?.pieces.keys() ?? [])]).toEqual([1]);
  });

  it("fails a reader whose bytes are gone", async () => {
    await fill(task, CONTENT);
    const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: 3 });
    const file = await open(fixture.contentPath(), "r+");
    await file.truncate(2500);
    await file.close();
    await expect(collect(reader.content)).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
    expect([...task.pieces.keys()]).toEqual([0, 1]);
  });

  it("serves any bytes of a piece, and counts the piece when its end is among them", async () => {
    await writePieceOf(task, 1, CONTENT);
    const piece = pieceOf(task, 1, CONTENT);
    const serve = async (offset: number, length: number): Promise<Uint8Array> => {
      const range = { offset, length };
      const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: 1, range });
      expect(reader.piece).toMatchObject({ number: 1, offset: PIECE_LENGTH, length: PIECE_LENGTH });
      return collect(reader.content);
    };
    expect(await serve(0, 300)).toEqual(piece.subarray(0, 300));
    expect(await serve(299, 1)).toEqual(piece.subarray(299, 300));
    expect(task).toMatchObject({ uploadingCount: 0, uploadedCount: 0 });
    expect(await serve(300, 2 ** 52)).toEqual(piece.subarray(300));
    expect(task).toMatchObject({ uploadingCount: 0, uploadedCount: 1 });
    expect(await serve(PIECE_LENGTH, 1)).toEqual(new Uint8Array(0));
    await expect(serve(PIECE_LENGTH + 1, 1)).rejects.toMatchObject({ code: "ERR_PIECE_NOT_FOUND" });
    expect(task).toMatchObject({ uploadingCount: 0 });
  });

  it("holds back the end of a piece that is damaged elsewhere, and withdraws the piece", async () => {
    await fill(task, CONTENT);
    const range = { offset: PIECE_LENGTH - 10, length: 10 };
    const reader = await storage.openPiece({ ...request, range });
    await overwrite(fixture.contentPath(), 10);
    const { chunks, error } = await readUntilError(reader.content);
    expect(error).toMatchObject({ name: "TransportError", code: "ERR_PARENT_FAILED" });
    expect(chunks).toEqual([]);
    expect([...task.pieces.keys()]).toEqual([1, 2, 3]);
  });

  it("serves every piece to many at once from few descriptors", async () => {
    await fill(task, CONTENT);
    const readers = Array.from({ length: 200 }, async (_, index) => {
      const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: index % 4 });
      expect(await collect(reader.content)).toEqual(pieceOf(task, index % 4, CONTENT));
    });
    await Promise.all(readers);
    expect(task).toMatchObject({ uploadingCount: 0, uploadedCount: 200 });
  });
});

describe("read and digest", () => {
  it("reads any range of what is there", async () => {
    await fill(task, CONTENT);
    await fc.assert(
      fc.asyncProperty(fc.nat(CONTENT.length), fc.nat(CONTENT.length), async (left, right) => {
        const offset = Math.min(left, right);
        const length = Math.max(left, right) - offset;
        const bytes = await collect(task.read({ offset, length }));
        expect(bytes).toEqual(CONTENT.subarray(offset, offset + length));
      }),
      { numRuns: 40 },
    );
  });

  it("reads the pieces that are there and refuses the others", async () => {
    await writePieceOf(task, 1, CONTENT);
    const there = { offset: PIECE_LENGTH, length: PIECE_LENGTH };
    expect(await collect(task.read(there))).toEqual(pieceOf(task, 1, CONTENT));
    await expect(collect(task.read())).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    expect(() => task.read({ offset: 1, length: CONTENT.length })).toThrow(RangeError);
  });

  it("stops a read before bytes that were changed under it", async () => {
    await fill(task, CONTENT);
    const read: number[] = [];
    const reading = (async () => {
      for await (const chunk of task.read()) {
        read.push(chunk.byteLength);
        if (read.length === 1) await overwrite(fixture.contentPath(), 2500);
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    expect(read.reduce((sum, length) => sum + length)).toBeLessThanOrEqual(2500);
  });

  it("knows a digest again, and forgets it with the bytes", async () => {
    await fill(task, CONTENT);
    const digest = await task.digest("sha256");
    expect(await task.digest("sha256")).toBe(digest);
    await overwrite(fixture.contentPath(), 5);
    await expect(task.digest("sha256")).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    await fill(task, CONTENT);
    expect(await task.digest("sha256")).toBe(digest);
    await expect(task.digest("crc64")).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
  });
});

describe("seal", () => {
  it("seals a complete task, once", async () => {
    await expect(task.seal()).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    await fill(task, CONTENT);
    expect(task.sealed).toBe(false);
    await Promise.all([task.seal(), task.seal()]);
    const journal = await readFile(fixture.journalPath());
    await task.seal();
    expect(task.sealed).toBe(true);
    expect(await readFile(fixture.journalPath())).toEqual(journal);
  });

  it("seals an empty file", async () => {
    const empty = await storage.createTask(factsOf(contentOf(0), { taskId: "0".repeat(64) }));
    expect(empty).toMatchObject({ complete: true, pieceCount: 0 });
    await empty.seal();
    expect(await collect(empty.read())).toEqual(new Uint8Array());
  });

  it("unseals a task with a damaged piece", async () => {
    await fill(task, CONTENT);
    await task.seal();
    await overwrite(fixture.contentPath(), 1500);
    await storage.openTask(TASK_ID);
    expect(task).toMatchObject({ sealed: false, complete: false });
    await fill(task, CONTENT);
    await task.seal();
    expect(await collect(task.read())).toEqual(CONTENT);
  });
});

async function readUntilError(
  content: AsyncIterable<Uint8Array>,
): Promise<{ chunks: Uint8Array[]; error: unknown }> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of content) chunks.push(Uint8Array.from(chunk));
    return { chunks, error: undefined };
  } catch (error) {
    return { chunks, error };
  }
}

function watched(bytes: Uint8Array): {
  readonly content: AsyncIterable<Uint8Array>;
  readonly state: { opened: boolean; closed: boolean };
} {
  const state = { opened: false, closed: false };
  async function* content(): AsyncGenerator<Uint8Array> {
    state.opened = true;
    try {
      yield* inChunks(bytes);
    } finally {
      state.closed = true;
    }
  }
  return { content: content(), state };
}
