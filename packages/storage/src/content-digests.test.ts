import { createHash } from "node:crypto";
import { truncate } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import {
  contentOf,
  createFixture,
  DRAFT,
  factsOf,
  fill,
  Gate,
  inChunks,
  overwrite,
  pieceOf,
  type StorageFixture,
  TASK_ID,
} from "../test-support/fixture.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import { ContentDigests, type DigestContext, type DigestedTask } from "./content-digests.ts";
import { DigestThread, type FileDigest, ThreadLost } from "./digest-thread.ts";
import type { FileHandle } from "./file-system.ts";
import type { Storage, StoredTask } from "./storage.ts";
import { TaskOnDisk } from "./task-on-disk.ts";

const PIECE_LENGTH = 1 << 20;
/** Too long to be read at once. */
const CONTENT = contentOf(9 * PIECE_LENGTH + 17);
const FACTS = factsOf(CONTENT, { pieceLength: PIECE_LENGTH });
const SHA256 = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;

let fixture: StorageFixture;
let storage: Storage;
let task: StoredTask;
let digestThread: DigestThread;

beforeEach(async () => {
  fixture = await createFixture();
  storage = await fixture.open({ limits: {} });
  task = await storage.createTask(FACTS);
  digestThread = new DigestThread();
});

afterEach(async () => {
  await digestThread[Symbol.asyncDispose]();
  await fixture.remove();
});

async function write(target: StoredTask, numbers: Iterable<number>): Promise<void> {
  for (const number of numbers) {
    const piece = pieceOf(target, number, CONTENT);
    await target.writePiece({ ...DRAFT, number }, inChunks(piece, 200_000));
  }
}

/** A thread that counts what it takes in, and is lost as often as it is told to. */
class CountingThread implements Pick<DigestThread, "open"> {
  readonly #thread: DigestThread;
  readonly positions: number[] = [];
  openedCount = 0;
  lossCount = 0;

  constructor(thread: DigestThread) {
    this.#thread = thread;
  }

  open(algorithm: string): FileDigest {
    this.openedCount += 1;
    const digest = this.#thread.open(algorithm);
    return {
      update: async (fd, range) => {
        if (this.lossCount > 0) {
          this.lossCount -= 1;
          throw new ThreadLost("Cannot compute digest: lost");
        }
        this.positions.push(range.position);
        await digest.update(fd, range);
      },
      finish: () => digest.finish(),
      close: () => digest.close(),
    };
  }
}

/** Digests of the task, by a thread of the test's own. */
function digestsBy(thread: CountingThread): ContentDigests & { readonly warnings: string[] } {
  const warnings: string[] = [];
  const context: DigestContext = {
    digestThread: thread,
    logger: { info: () => {}, warn: (_fields, text) => void warnings.push(text) },
  };
  if (!(task instanceof TaskOnDisk)) throw new TypeError("expected a task on disk");
  const digested: DigestedTask = task;
  return Object.assign(new ContentDigests(digested, context), { warnings });
}

describe("digest of a task", () => {
  it.each(["md5", "sha1", "sha256", "sha512"])("is %s of all of it", async (algorithm) => {
    await fill(task, CONTENT);
    const expected = createHash(algorithm).update(CONTENT).digest("hex");
    expect(await task.digest(algorithm)).toBe(`${algorithm}:${expected}`);
  });

  it("is CRC-32 without a look at the content", async () => {
    await fill(task, CONTENT);
    const thread = new CountingThread(digestThread);
    expect(await digestsBy(thread).digest("crc32")).toBe(`crc32:${crc32(CONTENT)}`);
    expect(thread.openedCount).toBe(0);
  });

  it("is CRC-32 of the content where the pieces have other digests", async () => {
    for (let number = 0; number < task.pieceCount; number += 1) {
      const piece = pieceOf(task, number, CONTENT);
      const digest = `sha256:${createHash("sha256").update(piece).digest("hex")}`;
      await task.writePiece({ ...DRAFT, number, digest }, inChunks(piece, 200_000));
    }
    expect(await task.digest("crc32")).toBe(`crc32:${crc32(CONTENT)}`);
  });

  it("is the same in whatever order the pieces come, expected or not", async () => {
    const numbers = Array.from({ length: task.pieceCount }, (_, number) => number);
    const orders = fc.shuffledSubarray(numbers, { minLength: numbers.length });
    await fc.assert(
      fc.asyncProperty(orders, fc.nat(numbers.length), async (order, expectedAt) => {
        await storage.deleteTask(TASK_ID);
        const fresh = await storage.createTask(FACTS);
        await write(fresh, order.slice(0, expectedAt));
        fresh.expectDigest("sha256");
        await write(fresh, order.slice(expectedAt));
        expect(await fresh.digest("sha256")).toBe(SHA256);
      }),
      { numRuns: 10 },
    );
  });

  it("is computed while the content comes, each byte once, however many ask", async () => {
    const thread = new CountingThread(digestThread);
    const digests = digestsBy(thread);
    digests.expect("sha256");
    const stop = task.onChange(() => digests.advance());
    await write(task, [0, 1, 2, 5]);
    await expect.poll(() => thread.positions.length).toBeGreaterThan(0);
    await write(task, [4, 3, 6, 7, 8]);
    await write(task, [9]);
    stop();
    const all = await Promise.all([1, 2, 3].map(() => digests.digest("sha256")));
    expect(all).toEqual([SHA256, SHA256, SHA256]);
    expect(thread.openedCount).toBe(1);
    expect(new Set(thread.positions).size).toBe(thread.positions.length);
    expect(await digests.digest("sha256")).toBe(SHA256);
    expect(thread.openedCount).toBe(1);
  });

  it("is never of bytes that were exchanged on disk", async () => {
    task.expectDigest("sha256");
    await fill(task, CONTENT);
    expect(await task.digest("sha256")).toBe(SHA256);
    await overwrite(fixture.contentPath(), 5 * PIECE_LENGTH + 3);
    await expect(task.digest("sha256")).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    await write(task, [5]);
    expect(await task.digest("sha256")).toBe(SHA256);
  });

  it("begins anew with another thread when one is lost", async () => {
    await fill(task, CONTENT);
    const thread = new CountingThread(digestThread);
    thread.lossCount = 1;
    const digests = digestsBy(thread);
    expect(await digests.digest("sha256")).toBe(SHA256);
    expect(thread.openedCount).toBe(2);
    expect(digests.warnings).toEqual([]);
  });

  it("is computed here when no thread stays, and says so", async () => {
    await fill(task, CONTENT);
    const thread = new CountingThread(digestThread);
    thread.lossCount = Number.POSITIVE_INFINITY;
    const digests = digestsBy(thread);
    expect(await digests.digest("sha256")).toBe(SHA256);
    expect(digests.warnings).toEqual(["digests are computed in the main thread"]);
  });

  it("fails with the task's own reason when that is deleted meanwhile", async () => {
    await fill(task, CONTENT);
    const failed = expect(task.digest("sha256")).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    await storage.deleteTask(TASK_ID);
    await failed;
  });

  it("finds out that the file is too short", async () => {
    await fill(task, CONTENT);
    await truncate(fixture.contentPath(), 6 * PIECE_LENGTH);
    await expect(task.digest("sha256")).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
  });

  it("refuses an algorithm that there is not", async () => {
    await fill(task, CONTENT);
    expect(() => task.expectDigest("rot13")).toThrow("expected one of crc32");
    await expect(task.digest("rot13")).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
  });
});

describe("a digest of bytes since a certain time", () => {
  it.each(["sha256", "crc32"])(
    "is read from the disk again where it was known before (%s)",
    async (algorithm) => {
      await fixture.close();
      const disk = new MemoryDisk();
      const onDisk = await fixture.open({ fileSystem: disk, limits: {} });
      const content = CONTENT.subarray(0, 3 * PIECE_LENGTH);
      const sinceMs = performance.now();
      const short = await onDisk.createTask(factsOf(content, { pieceLength: PIECE_LENGTH }));
      await fill(short, content);
      const right = await short.digest(algorithm, { sinceMs });
      disk.rot(fixture.contentPath(), PIECE_LENGTH + 5);
      // It has come since then, and nothing shows that it is another one now.
      expect(await short.digest(algorithm, { sinceMs })).toBe(right);
      expect(await short.digest(algorithm)).toBe(right);
      expect(await short.digest(algorithm, { sinceMs: performance.now() })).not.toBe(right);
      expect(await short.verify(short.pieces.keys())).toEqual([1]);
      await fill(short, content);
      expect(await short.digest(algorithm, { sinceMs: performance.now() })).toBe(right);
    },
  );

  it("is not CRC-32 by records of an earlier process", async () => {
    await fill(task, CONTENT);
    await fixture.reopen({ limits: {} });
    task = (await fixture.storage.openTask(TASK_ID))!;
    const thread = new CountingThread(digestThread);
    const digests = digestsBy(thread);
    expect(await digests.digest("crc32", { sinceMs: 0 })).toBe(`crc32:${crc32(CONTENT)}`);
    expect(thread.openedCount).toBe(1);
  });

  it.each(["sha256", "crc32"])(
    "costs who has just fetched them nothing (%s)",
    async (algorithm) => {
      const sinceMs = performance.now();
      const thread = new CountingThread(digestThread);
      const digests = digestsBy(thread);
      digests.expect(algorithm);
      await fill(task, CONTENT);
      digests.advance();
      await digests.digest(algorithm, { sinceMs });
      expect(new Set(thread.positions).size).toBe(thread.positions.length);
      expect(thread.openedCount).toBe(algorithm === "crc32" ? 0 : 1);
    },
  );

  it("is read once for all who ask while it is read, and once more for those who may not have that", async () => {
    await fill(task, CONTENT);
    const thread = new CountingThread(digestThread);
    const gate = new Gate();
    const open = thread.open.bind(thread);
    thread.open = (algorithm) => {
      const file = open(algorithm);
      const update: FileDigest["update"] = async (...given) => {
        await gate.opened;
        await file.update(...given);
      };
      return { ...file, update };
    };
    const digests = digestsBy(thread);
    // So that a turn is enough for each to have begun.
    if (!(task instanceof TaskOnDisk)) throw new TypeError("expected a task on disk");
    vi.spyOn(task, "assertReadable").mockResolvedValue();
    const asked: Promise<string>[] = [];
    for (let count = 0; count < 5; count += 1) {
      asked.push(digests.digest("sha256", { sinceMs: performance.now() }));
      await setImmediate();
    }
    gate.open();
    expect(new Set(await Promise.all(asked))).toEqual(new Set([SHA256]));
    expect(thread.openedCount).toBe(2);
  });
});

describe("a digest of what a disk does not give", () => {
  const EIO = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  let disk: MemoryDisk;

  /** With descriptors, for a thread that does not use them. */
  class DescribedDisk extends MemoryDisk {
    override async open(...given: Parameters<MemoryDisk["open"]>): Promise<FileHandle> {
      return Object.assign(await super.open(...given), { fd: -1 });
    }
  }

  beforeEach(async () => {
    await fixture.close();
    disk = new DescribedDisk();
    const onDisk = await fixture.open({ fileSystem: disk, limits: {} });
    task = await onDisk.createTask(FACTS);
    await fill(task, CONTENT);
  });

  /** By a thread that cannot read it. */
  function digestsOfBroken(read: () => Error): ContentDigests {
    const thread = new CountingThread(digestThread);
    thread.open = () => ({
      update: async () => {
        throw read();
      },
      finish: () => Promise.resolve("sha256:"),
      close: () => undefined,
    });
    return digestsBy(thread);
  }

  it("costs the piece whose sector cannot be read, which can be fetched again", async () => {
    const digests = digestsOfBroken(() => EIO);
    let readCount = 0;
    // Two reads are the first piece.
    disk.onStep = ({ name }) => (name === "read" && (readCount += 1) > 2 ? "EIO" : undefined);
    await expect(digests.digest("sha256")).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    disk.onStep = undefined;
    expect(task.pieces.has(1)).toBe(false);
    expect(task.pieces.size).toBe(task.pieceCount - 1);
    await fill(task, CONTENT);
    expect(await digests.digest("sha256")).toBe(SHA256);
  });

  it("is right where that can be read the second time", async () => {
    expect(await digestsOfBroken(() => EIO).digest("sha256")).toBe(SHA256);
    const short = new Error("the file ends at 17");
    expect(await digestsOfBroken(() => short).digest("sha256")).toBe(SHA256);
    expect(task.pieces.size).toBe(task.pieceCount);
  });

  it("costs the pieces that are cut off while it is computed", async () => {
    const digests = digestsOfBroken(() => {
      disk.patch(fixture.contentPath(), (bytes) => bytes.subarray(0, 6 * PIECE_LENGTH));
      return new Error("the file ends");
    });
    await expect(digests.digest("sha256")).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    expect([...task.pieces.keys()]).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe("a digest that turns out to be wrong", () => {
  it("is right again when what stat does not show was found and fetched again", async () => {
    const last = task.pieceCount - 1;
    await write(
      task,
      Array.from({ length: last }, (_, number) => number),
    );
    // While a piece is being written the file changes by our own hand, so stat cannot tell.
    const gate = new Gate();
    const writing = task.writePiece(
      { ...DRAFT, number: last },
      gate.stream(pieceOf(task, last, CONTENT)),
    );
    await overwrite(fixture.contentPath(), 5 * PIECE_LENGTH + 3);
    gate.open();
    await writing;
    expect(await task.digest("sha256")).not.toBe(SHA256);
    expect(await task.verify(task.pieces.keys())).toEqual([5]);
    await write(task, [5]);
    expect(await task.verify(task.pieces.keys())).toEqual([]);
    expect(await task.digest("sha256")).toBe(SHA256);
  });
});
