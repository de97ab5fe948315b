import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";

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
  PIECE_LENGTH,
  pieceOf,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import type { Lack } from "./accounting.ts";
import type { StorageOptions } from "./open-storage.ts";
import type { StoredTask, TaskUsage } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
const OTHER_ID = "cd".repeat(32);
const HOUR_MS = 3_600_000;
let fixture: StorageFixture;
let nowMs: number;

beforeEach(async () => {
  fixture = await createFixture();
  nowMs = Date.now();
  await open();
});

afterEach(async () => {
  await fixture.remove();
});

async function open(options: Partial<StorageOptions> = {}): Promise<void> {
  await fixture.close();
  await fixture.open({ clock: { now: () => nowMs }, ...options });
}

async function taskOf(taskId: string = TASK_ID): Promise<StoredTask> {
  const task = await fixture.storage.createTask(factsOf(CONTENT, { taskId }));
  await fill(task, CONTENT);
  await task.seal();
  return task;
}

async function usageOf(taskId: string = TASK_ID): Promise<TaskUsage | undefined> {
  return (await fixture.storage.usage()).tasks.find((task) => task.taskId === taskId);
}

describe("usage", () => {
  it("counts what is on the disk: blocks, not holes, and journals as well", async () => {
    const task = await fixture.storage.createTask(
      factsOf(CONTENT, { contentLength: 1 << 30, pieceLength: 1 << 20 }),
    );
    const empty = await usageOf();
    expect(empty?.bytes).toBeLessThan(20_000);
    await writePieceOf(task, 3, new Uint8Array(4 << 20));
    const usage = await usageOf();
    expect(usage?.bytes).toBeGreaterThanOrEqual((1 << 20) + (empty?.bytes ?? 0));
    expect(usage?.bytes).toBeLessThan((1 << 20) + 40_000);
    expect(usage?.freeableBytes).toBe(usage?.bytes);
    const { bytes, disk } = await fixture.storage.usage();
    expect(bytes).toBe(usage?.bytes);
    expect(disk.totalBytes).toBeGreaterThan(disk.freeBytes);
  });

  it("knows that content with another name takes room whether or not it is here", async () => {
    const task = await taskOf();
    await task.output(fixture.path("out"), { forceHardLink: true });
    const usage = await usageOf();
    expect(usage?.freeableBytes).toBeGreaterThan(0);
    expect(usage?.freeableBytes).toBeLessThan(usage?.bytes ?? 0);
  });

  it("counts what it cannot read, and what belongs to no task", async () => {
    await taskOf();
    await fixture.close();
    await writeFile(fixture.journalPath(), newerJournal());
    await open();
    const { tasks, bytes } = await fixture.storage.usage();
    expect(tasks).toHaveLength(1);
    expect(tasks[0]?.bytes).toBeGreaterThan(CONTENT.length);
    const spool = await fixture.storage.spool(inChunks(CONTENT));
    expect((await fixture.storage.usage()).bytes).toBeGreaterThanOrEqual(bytes + spool.length);
    await spool[Symbol.asyncDispose]();
    await writeFile(join(fixture.contentPath(), "..", `${OTHER_ID}.journal.damaged-1`), CONTENT);
    expect((await fixture.storage.usage()).bytes).toBeGreaterThan(bytes);
  });

  it("has what is still to come for tasks that are being fetched", async () => {
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    // Whoever has created it is about to fetch it.
    expect((await fixture.storage.usage()).reservedBytes).toBe(CONTENT.length);
    nowMs += 10_000;
    expect((await fixture.storage.usage()).reservedBytes).toBe(0);
    const release = task.retain();
    await writePieceOf(task, 0, CONTENT);
    expect((await fixture.storage.usage()).reservedBytes).toBe(CONTENT.length - PIECE_LENGTH);
    release();
  });

  it("remembers over a restart when a task was used last", async () => {
    const task = await taskOf();
    await taskOf(OTHER_ID);
    nowMs += 5 * HOUR_MS;
    await collect(task.read({ offset: 0, length: 10 }));
    const usedAtMs = nowMs;
    nowMs += 5 * HOUR_MS;
    await open();
    expect((await usageOf())?.usedAtMs).toBeCloseTo(usedAtMs, -2);
    expect((await usageOf(OTHER_ID))?.usedAtMs).toBeLessThan(usedAtMs - 4 * HOUR_MS);
    // Looking at it is no use of it.
    await fixture.storage.openTask(TASK_ID);
    await fixture.storage.listTasks();
    expect((await usageOf())?.usedAtMs).toBeCloseTo(usedAtMs, -2);
  });

  it("remembers it over a kill as well, as of the last time that it was asked", async () => {
    const task = await taskOf();
    nowMs += 5 * HOUR_MS;
    const reader = await fixture.storage.openPiece({ taskId: TASK_ID, pieceNumber: 0 });
    await collect(reader.content);
    await fixture.storage.usage();
    const { mtimeMs } = await stat(fixture.journalPath());
    expect(mtimeMs).toBeCloseTo(nowMs, -2);
    expect(task.usedAtMs).toBe(nowMs);
  });
});

describe("evictTask", () => {
  it("deletes what nobody uses, and leaves its outputs", async () => {
    const task = await taskOf();
    await task.output(fixture.path("out"));
    expect(await fixture.storage.evictTask(TASK_ID)).toBe("evicted");
    expect(await fixture.storage.evictTask(TASK_ID)).toBe("not-here");
    expect(await readdir(join(fixture.contentPath(), ".."))).toEqual([]);
    expect((await readdir(fixture.directory)).toSorted()).toEqual(["damselfly", "out"]);
    await expect(collect(task.read())).rejects.toMatchObject({
      code: "ERR_TASK_GONE",
      message: expect.stringContaining("evicted"),
    });
  });

  it("touches nothing that is being fetched, written, served, read or placed", async () => {
    const { storage } = fixture;
    const task = await taskOf();
    const busy = async (): Promise<void> => {
      expect((await usageOf())?.busy).toBe(true);
      expect(await storage.evictTask(TASK_ID)).toBe("busy");
    };
    const release = task.retain();
    await busy();
    release();

    const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: 0 });
    await busy();
    await reader[Symbol.asyncDispose]();

    const reading = task.read()[Symbol.asyncIterator]();
    await reading.next();
    await busy();
    await reading.return?.();

    const placing = task.output(fixture.path("out"));
    await busy();
    await placing;

    expect((await usageOf())?.busy).toBe(false);
    expect(await storage.evictTask(TASK_ID)).toBe("evicted");
    const other = await storage.createTask(factsOf(CONTENT));
    const gate = new Gate();
    const writing = other.writePiece(
      { ...DRAFT, number: 0 },
      gate.stream(pieceOf(other, 0, CONTENT)),
    );
    await busy();
    gate.open();
    await writing;
    expect(await storage.evictTask(TASK_ID)).toBe("evicted");
  });

  it("leaves what a newer version wrote", async () => {
    await taskOf();
    await fixture.close();
    await writeFile(fixture.journalPath(), newerJournal());
    await open();
    await expect(fixture.storage.evictTask(TASK_ID)).rejects.toMatchObject({
      code: "ERR_STORAGE_VERSION",
    });
    expect(await readdir(join(fixture.contentPath(), ".."))).toHaveLength(2);
  });
});

describe("pinTask", () => {
  it("keeps a task until it is unpinned, over restarts too", async () => {
    await taskOf();
    expect(await fixture.storage.pinTask(TASK_ID, true)).toBe(true);
    expect(await fixture.storage.pinTask(TASK_ID, true)).toBe(true);
    await open();
    expect((await usageOf())?.pinned).toBe(true);
    expect(await fixture.storage.evictTask(TASK_ID)).toBe("pinned");
    expect(await fixture.storage.pinTask(TASK_ID, false)).toBe(true);
    expect(await fixture.storage.pinTask(TASK_ID, false)).toBe(true);
    await open();
    expect(await fixture.storage.evictTask(TASK_ID)).toBe("evicted");
  });

  it("holds for the next version of the file, and goes when the task is deleted", async () => {
    await taskOf();
    await fixture.storage.pinTask(TASK_ID, true);
    await fixture.storage.createTask(factsOf(CONTENT, { contentVersion: "v2" }));
    expect((await usageOf())?.pinned).toBe(true);
    await fixture.storage.deleteTask(TASK_ID);
    await taskOf();
    expect((await usageOf())?.pinned).toBe(false);
    expect(await readdir(join(fixture.contentPath(), ".."))).toHaveLength(2);
  });

  it("knows nothing of what is not here", async () => {
    expect(await fixture.storage.pinTask(TASK_ID, true)).toBe(false);
    expect(fixture.directory).toBeDefined();
  });
});

describe("createTask without room", () => {
  it("says what the quota is, and counts everything towards it", async () => {
    await open({ fileSystem: new MemoryDisk(), quotaBytes: 9000 });
    const first = await taskOf();
    const { bytes } = await fixture.storage.usage();
    const second = fixture.storage.createTask(
      factsOf(CONTENT, { taskId: OTHER_ID, contentLength: 6000, pieceLength: 6000 }),
    );
    await expect(second).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
      message: expect.stringContaining(`the quota of 9000 bytes has ${9000 - bytes} left`),
    });
    // What is counted in between is what is measured.
    const third = await fixture.storage.createTask(factsOf(CONTENT, { taskId: OTHER_ID }));
    const release = third.retain();
    const fourth = factsOf(CONTENT, { taskId: "0".repeat(64) });
    await expect(fixture.storage.createTask(fourth)).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
      message: expect.stringContaining("3017 of them are promised"),
    });
    release();
    await fixture.storage.deleteTask(first.facts.taskId);
    await fixture.storage.createTask(fourth);
  });

  describe("where pieces have been dropped that are still counted", () => {
    const FILE = contentOf(40_000);
    const OTHER = contentOf(20_000);
    const facts = factsOf(FILE, { pieceLength: 10_000 });
    let evictable: string[];

    beforeEach(async () => {
      evictable = [];
      const disk = new MemoryDisk();
      const makeRoom = async (): Promise<boolean> => {
        const taskId = evictable.pop();
        return taskId !== undefined && (await fixture.storage.evictTask(taskId)) === "evicted";
      };
      await open({ fileSystem: disk, quotaBytes: 70_000, makeRoom });
      const task = await fixture.storage.createTask(facts);
      const release = task.retain();
      await fill(task, FILE);
      release();
      await fill(
        await fixture.storage.createTask(factsOf(OTHER, { taskId: OTHER_ID, pieceLength: 10_000 })),
        OTHER,
      );
      // From his edit on the file is its user's; here is a hole instead.
      await task.output(fixture.path("out"), { forceHardLink: true });
      disk.patch(fixture.path("out"), () => Buffer.from("edited"));
      expect((await fixture.storage.openTask(TASK_ID))?.pieces.size).toBe(0);
    });

    it("has room for them at once", async () => {
      await fill(await fixture.storage.createTask(facts), FILE);
      expect((await fixture.storage.usage()).bytes).toBeLessThan(70_000);
    });

    it("has nobody make way for them", async () => {
      evictable.push(OTHER_ID);
      await fixture.storage.createTask(facts);
      expect((await fixture.storage.openTask(OTHER_ID))?.complete).toBe(true);
      expect(evictable).toEqual([OTHER_ID]);
    });
  });

  it("promises what is left to one of those who ask at once, not to each", async () => {
    await open({ fileSystem: new MemoryDisk(), quotaBytes: 9000 });
    const taskIds = ["ab", "cd", "ef"].map((id) => id.repeat(32));
    const outcomes = await Promise.allSettled(
      taskIds.map((taskId) =>
        fixture.storage.createTask(
          factsOf(CONTENT, { taskId, contentLength: 4000, pieceLength: 4000 }),
        ),
      ),
    );
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
    ]);
    expect((await fixture.storage.usage()).reservedBytes).toBe(8000);
  });

  it("is no matter to who only wants to know it", async () => {
    const lacks: Lack[] = [];
    const makeRoom = async (lack: Lack): Promise<boolean> => lacks.push(lack) === 0;
    await open({ fileSystem: new MemoryDisk(), quotaBytes: 9000, makeRoom });
    // There is none for anybody.
    const full = { taskId: OTHER_ID, contentLength: 9000, pieceLength: 9000 };
    (await fixture.storage.createTask(factsOf(CONTENT, full))).retain();
    const facts = factsOf(CONTENT, { contentLength: 90_000, pieceLength: 10_000 });
    const known = await fixture.storage.createTask(facts, { reserves: false });
    expect(await fixture.storage.createTask(facts, { reserves: false })).toBe(known);
    expect((await fixture.storage.usage()).reservedBytes).toBe(9000);
    expect(lacks).toEqual([]);
    // Who goes on with it needs all of it.
    const going = fixture.storage.createTask(facts);
    await expect(going).rejects.toMatchObject({ code: "ERR_NO_SPACE" });
  });

  it("promises nothing to a task that cannot be made", async () => {
    const disk = new MemoryDisk();
    await open({ fileSystem: disk, quotaBytes: 9000 });
    disk.onStep = ({ name }) => (name === "open" ? "EIO" : undefined);
    const failed = fixture.storage.createTask(factsOf(CONTENT));
    await expect(failed).rejects.toMatchObject({ code: "ERR_IO" });
    disk.onStep = undefined;
    expect((await fixture.storage.usage()).reservedBytes).toBe(0);
  });

  it("counts what is written to a file that has just been looked at", async () => {
    const gate = new Gate();
    let onReach: (() => void) | undefined;
    class SlowDisk extends MemoryDisk {
      override async readdir(path: string): Promise<string[]> {
        if (onReach !== undefined && path.endsWith(`/${OTHER_ID.slice(0, 3)}`)) {
          onReach();
          await gate.opened;
        }
        return await super.readdir(path);
      }
    }
    await open({ fileSystem: new SlowDisk(), quotaBytes: 12_000 });
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    const release = task.retain();
    await taskOf(OTHER_ID);
    const reached = new Promise<void>((resolve) => (onReach = resolve));
    const measuring = fixture.storage.usage();
    await reached;
    await fill(task, CONTENT);
    release();
    onReach = undefined;
    gate.open();
    await measuring;
    const facts = { taskId: "0".repeat(64), contentLength: 5000, pieceLength: 5000 };
    await expect(fixture.storage.createTask(factsOf(CONTENT, facts))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
  });

  it("asks for room until there is enough, and gives up when nobody makes any", async () => {
    const lacks: Lack[] = [];
    const evict = ["ab", "cd", "ef"].map((id) => id.repeat(32));
    await open({
      fileSystem: new MemoryDisk({ capacity: 19_000 }),
      makeRoom: async (lack) => {
        lacks.push(lack);
        const taskId = evict.shift();
        return taskId !== undefined && (await fixture.storage.evictTask(taskId)) === "evicted";
      },
    });
    await taskOf("ab".repeat(32));
    await taskOf("cd".repeat(32));
    await taskOf("ef".repeat(32));
    const facts = (contentLength: number): ReturnType<typeof factsOf> =>
      factsOf(CONTENT, { taskId: "0".repeat(64), contentLength, pieceLength: contentLength });
    await fixture.storage.createTask(facts(12_000));
    expect(lacks).toHaveLength(2);
    expect(lacks.every(({ of }) => of === "disk")).toBe(true);
    expect(lacks[1]?.bytes).toBeLessThan(lacks[0]?.bytes ?? 0);
    await expect(fixture.storage.createTask(facts(90_000))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
    expect(evict).toEqual([]);
  });
});

function newerJournal(): Buffer {
  const header = Buffer.alloc(16);
  header.write("DMSLJRNL", 0, "latin1");
  header.writeUInt32BE(2, 8);
  header.writeUInt32BE(crc32(header.subarray(0, 12)), 12);
  return header;
}
