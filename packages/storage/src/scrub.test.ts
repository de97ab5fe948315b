import { crc32 } from "node:zlib";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  contentOf,
  createFixture,
  factsOf,
  fill,
  PIECE_LENGTH,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import type { ScrubOptions } from "./scrub.ts";
import type { StoredTask } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
const OTHER_ID = "cd".repeat(32);
const DAY_MS = 86_400_000;
let fixture: StorageFixture;
let disk: MemoryDisk;
let nowMs: number;

beforeEach(async () => {
  fixture = await createFixture();
  disk = new MemoryDisk();
  nowMs = 1_000_000;
  await open();
});

afterEach(async () => {
  await fixture.remove();
});

/** A scrub whose pauses take no time, but for the clock's. */
class Scrubbing {
  readonly pieces: { readonly length: number; readonly isGood: boolean }[] = [];
  readonly pauses: number[] = [];
  passCount = 0;
  readonly #stop = new AbortController();
  #until: (scrubbing: Scrubbing) => boolean = () => false;

  /** Resolves when it has come to that, or to the end of its first pass. */
  async run(
    until: (scrubbing: Scrubbing) => boolean = () => false,
    options: Partial<ScrubOptions> = {},
  ): Promise<this> {
    this.#until = until;
    await fixture.storage.scrub({
      bytesPerSecond: 1000,
      signal: this.#stop.signal,
      onPiece: (piece) => {
        this.pieces.push(piece);
        this.#stopWhenDue();
      },
      onPass: () => {
        this.passCount += 1;
        this.#stopWhenDue();
      },
      pause: async (ms) => {
        this.pauses.push(ms);
        nowMs += ms;
        this.#stopWhenDue();
        await Promise.resolve();
      },
      ...options,
    });
    return this;
  }

  stop(): void {
    this.#stop.abort();
  }

  #stopWhenDue(): void {
    if (this.passCount > 0 || this.#until(this)) this.#stop.abort();
  }
}

async function open(): Promise<void> {
  await fixture.open({ fileSystem: disk, clock: { now: () => nowMs } });
}

async function taskOf(taskId: string): Promise<StoredTask> {
  const task = await fixture.storage.createTask(factsOf(CONTENT, { taskId }));
  await fill(task, CONTENT);
  await task.seal();
  return task;
}

describe("scrub", () => {
  it("finds and withdraws what has rotted without a trace in stat, and nothing else", async () => {
    const [task, other] = [await taskOf(TASK_ID), await taskOf(OTHER_ID)];
    disk.rot(fixture.contentPath(), 1200);
    disk.rot(fixture.contentPath(OTHER_ID), 3010);
    const { pieces, passCount } = await new Scrubbing().run();
    expect(passCount).toBe(1);
    expect(pieces.map(({ isGood }) => isGood)).toEqual([
      true,
      false,
      true,
      true,
      true,
      true,
      true,
      false,
    ]);
    expect([...task.pieces.keys()]).toEqual([0, 2, 3]);
    expect([...other.pieces.keys()]).toEqual([0, 1, 2]);

    // Fetched when it is next wanted.
    await writePieceOf(task, 1, CONTENT);
    await task.seal();
    expect((await new Scrubbing().run()).pieces.filter(({ isGood }) => !isGood)).toEqual([]);
  });

  it("looks at unfinished tasks as well", async () => {
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    await writePieceOf(task, 2, CONTENT);
    disk.rot(fixture.contentPath(), 2000);
    await new Scrubbing().run();
    expect(task.pieces.size).toBe(0);
  });

  it("reads no faster than it is told to, and a tenth of that while the daemon is busy", async () => {
    await taskOf(TASK_ID);
    const all = (scrubbing: Scrubbing): boolean => scrubbing.pieces.length === 4;
    const slow = await new Scrubbing().run(all);
    expect(slow.pauses.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(3017);
    disk.patch(fixture.path("damselfly/scrub"), () => Buffer.alloc(0));
    const slower = await new Scrubbing().run(all, { isBusy: () => true });
    expect(slower.pauses.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(30_170);
  });

  it("goes on after a restart where it was", async () => {
    await taskOf(TASK_ID);
    await taskOf(OTHER_ID);
    const first = await new Scrubbing().run(({ pieces }) => pieces.length === 5);
    expect(first.pieces).toHaveLength(5);
    await fixture.close();
    await open();
    const second = await new Scrubbing().run();
    // The piece that it was at when it was stopped is looked at again.
    expect(second.pieces).toHaveLength(4);
    expect(second.passCount).toBe(1);
  });

  it("remembers that also when the process is killed, but for the last minute", async () => {
    await taskOf(TASK_ID);
    await taskOf(OTHER_ID);
    let cursor = "";
    const scrubbing = new Scrubbing();
    await scrubbing.run(undefined, {
      // 100 s a piece.
      bytesPerSecond: 10,
      onPiece: (piece) => void scrubbing.pieces.push(piece),
      pause: async (ms) => {
        nowMs += ms;
        if (scrubbing.pieces.length === 3 && cursor === "")
          cursor = disk.read(fixture.path("damselfly/scrub")).toString();
        if (scrubbing.pieces.length === 4) scrubbing.stop();
      },
    });
    expect(JSON.parse(cursor)).toMatchObject({ taskId: TASK_ID, pieceNumber: 2 });
  });

  it("begins a pass once a day at most, also after a restart", async () => {
    await taskOf(TASK_ID);
    const startedAtMs = nowMs;
    await new Scrubbing().run();
    await fixture.close();
    await open();
    const again = await new Scrubbing().run(({ pieces }) => pieces.length === 1);
    expect(again.passCount).toBe(0);
    expect(nowMs - startedAtMs).toBeGreaterThanOrEqual(DAY_MS);
    expect(nowMs - startedAtMs).toBeLessThan(DAY_MS + 10_000);
  });

  it("begins anew when what is written of it is nothing", async () => {
    await taskOf(TASK_ID);
    await new Scrubbing().run();
    nowMs += DAY_MS;
    disk.patch(fixture.path("damselfly/scrub"), () => Buffer.from("{\0\0"));
    expect((await new Scrubbing().run()).pieces).toHaveLength(4);
  });

  it("passes over what cannot be read, and what was deleted meanwhile", async () => {
    await taskOf("00".repeat(32));
    await taskOf(TASK_ID);
    await taskOf(OTHER_ID);
    await fixture.close();
    disk.patch(fixture.journalPath(), (journal) => {
      journal.writeUInt32BE(2, 8);
      journal.writeUInt32BE(crc32(journal.subarray(0, 12)), 12);
      return journal;
    });
    await open();
    const scrubbing = new Scrubbing();
    const deleting: Promise<unknown>[] = [];
    await scrubbing.run(({ pieces }) => {
      if (pieces.length === 1 && deleting.length === 0)
        deleting.push(fixture.storage.deleteTask("00".repeat(32)));
      return false;
    });
    await Promise.all(deleting);
    expect(scrubbing.pieces.length).toBeGreaterThanOrEqual(5);
    expect(fixture.warnings).toContain("task cannot be scrubbed");
  });

  it("ends when the storage is closed", async () => {
    await taskOf(TASK_ID);
    const scrubbing = new Scrubbing().run(undefined, {
      pause: (_ms, signal) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => resolve(), { once: true });
        }),
    });
    await fixture.close();
    expect((await scrubbing).passCount).toBe(0);
  });
});
