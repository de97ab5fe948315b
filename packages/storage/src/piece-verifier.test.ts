import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  contentOf,
  createFixture,
  factsOf,
  fill,
  PIECE_LENGTH,
  type StorageFixture,
  TASK_ID,
} from "../test-support/fixture.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import type { StoredTask } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
let fixture: StorageFixture;
let disk: MemoryDisk;
let task: StoredTask;
let readCount: number;

beforeEach(async () => {
  fixture = await createFixture();
  disk = new MemoryDisk();
  const storage = await fixture.open({ fileSystem: disk });
  task = await storage.createTask(factsOf(CONTENT));
  await fill(task, CONTENT);
  await task.seal();
  readCount = 0;
  disk.onStep = ({ name }) => {
    if (name === "read") readCount += 1;
    return undefined;
  };
});

afterEach(async () => {
  await fixture.remove();
});

describe("verify", () => {
  it("withdraws what does not match any more, and names it", async () => {
    disk.rot(fixture.contentPath(), 0);
    disk.rot(fixture.contentPath(), 3000);
    expect(await task.verify([0, 1, 3, 9])).toEqual([0, 3]);
    expect([...task.pieces.keys()]).toEqual([1, 2]);
    expect(task.sealed).toBe(false);
    await fill(task, CONTENT);
    await task.seal();
    expect(await task.verify(task.pieces.keys())).toEqual([]);
  });

  it("reads a piece once for all who ask at once", async () => {
    disk.rot(fixture.contentPath(), 1000);
    const found = await Promise.all([1, 2, 3].map(() => task.verify([0, 1])));
    expect(found).toEqual([[1], [1], [1]]);
    expect(readCount).toBe(8);
  });

  it("does not have one who is in a hurry wait for one who is not", async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const slow = task.verify([0], { pace: () => gate });
    expect(await task.verify([0])).toEqual([]);
    release();
    expect(await slow).toEqual([]);
  });

  it("tells what has rotted from what somebody has changed, which has every piece checked", async () => {
    disk.patch(fixture.contentPath(), (bytes) => bytes.fill(1, 0, 5).fill(1, 2500, 2505));
    await task.verify([1]);
    expect([...task.pieces.keys()]).toEqual([1, 3]);
  });

  it("ends when its task is deleted, and with the signal's reason", async () => {
    const reason = new Error("enough");
    const aborted = task.verify([0], { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
    const stop = new AbortController();
    const stopped = task.verify([0, 1], {
      signal: stop.signal,
      pace: async () => stop.abort(reason),
    });
    await expect(stopped).rejects.toBe(reason);
    const deleted = task.verify([0, 1], {
      pace: async () => void (await fixture.storage.deleteTask(TASK_ID)),
    });
    await expect(deleted).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
  });

  it("drops a piece whose sector cannot be read, and no other", async () => {
    let reads = 0;
    disk.onStep = ({ name }) => (name === "read" && (reads += 1) === 1 ? "EIO" : undefined);
    expect(await task.verify([2])).toEqual([2]);
    expect(task.pieces.size).toBe(3);
  });
});

describe("readPiece", () => {
  it("gives all bytes of a piece, which are the caller's", async () => {
    const one = await task.readPiece(3);
    expect(Buffer.compare(one, CONTENT.subarray(3 * PIECE_LENGTH))).toBe(0);
    one.fill(0);
    expect(Buffer.compare(await task.readPiece(3), CONTENT.subarray(3 * PIECE_LENGTH))).toBe(0);
    expect(() => task.bounds(4)).toThrow(RangeError);
    await expect(task.readPiece(4)).rejects.toThrow(RangeError);
  });

  it("withdraws one that does not match any more rather than give it", async () => {
    disk.rot(fixture.contentPath(), PIECE_LENGTH + 1);
    await expect(task.readPiece(1)).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    expect([...task.pieces.keys()]).toEqual([0, 2, 3]);
    await expect(task.readPiece(1)).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    await fill(task, CONTENT);
    expect(await task.readPiece(1)).toHaveLength(PIECE_LENGTH);
  });

  it("withdraws one whose sector cannot be read, and no other", async () => {
    disk.onStep = ({ name }) => (name === "read" ? "EIO" : undefined);
    await expect(task.readPiece(1)).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
    disk.onStep = undefined;
    expect([...task.pieces.keys()]).toEqual([0, 2, 3]);
    await fill(task, CONTENT);
    expect(await task.readPiece(1)).toHaveLength(PIECE_LENGTH);
  });

  it("gives one that could not be read once", async () => {
    let reads = 0;
    disk.onStep = ({ name }) => (name === "read" && (reads += 1) === 1 ? "EIO" : undefined);
    expect(await task.readPiece(1)).toEqual(
      Buffer.from(CONTENT.subarray(PIECE_LENGTH, 2 * PIECE_LENGTH)),
    );
    expect(task.pieces.size).toBe(4);
  });

  it("gives up one that can be read only by who looks at it", async () => {
    let reads = 0;
    // Who looks at it reads it in four.
    disk.onStep = ({ name }) => (name === "read" && (reads += 1) % 5 === 1 ? "EIO" : undefined);
    await expect(task.readPiece(1)).rejects.toMatchObject({ code: "ERR_IO" });
    expect(reads).toBe(10);
    expect(task.pieces.size).toBe(4);
  });
});
